/** The figures as tables, and against the bars that they are held to. */
import { type Bar, otherBars, percent, ratioOf, verdictOf } from "./bars.ts";
import type { EdgeFigures } from "./edge.ts";
import type { Figures } from "./measure.ts";
import { OWN } from "./peers/tidegate.ts";
import type { LoadResult, MemoryResult, Results } from "./results.ts";
import { ROWS } from "./rows/index.ts";
import { addedP99Ms, latency } from "./rows/latency.ts";
import { memoryBars } from "./rows/memory.ts";
import type { SnapshotTimes } from "./snapshot.ts";

export function renderTables(results: Results): string {
  const { machine, memory, snapshot, propagation, edge, failed = {} } = results;
  const parts = [
    `\n${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, load before ${machine.load[0]}, after ${machine.load[1]}\n`,
  ];
  for (const row of ROWS) {
    const result = results.rows[row.name];
    if (result !== undefined) parts.push(rowTable(`${row.name}: ${row.title}`, row.unit, result));
    if (row === latency && result !== undefined) parts.push(addedLine(result));
  }
  if (memory !== undefined) parts.push(memoryTable(memory));
  if (snapshot !== undefined) parts.push(snapshotTable(snapshot));
  if (propagation !== undefined) {
    const { gateways, changes, p50Ms, p99Ms } = propagation;
    parts.push(
      `\ncommit to enforced on ${gateways} gateways, ${changes} changes: p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms\n`,
    );
  }
  if (edge !== undefined) parts.push(edgeTables(edge));
  for (const [name, reason] of Object.entries(failed)) parts.push(`\n${name}: FAILED: ${reason}\n`);
  return parts.join("");
}

/** Columns of ratios are against the contenders other than ours; above 1 ours is better. */
function rowTable(title: string, unit: string, { figures, refused }: LoadResult): string {
  const own = figures[OWN];
  const rows = Object.entries(figures).map(([name, figure]) => [
    name,
    figure.rate.toFixed(0),
    percent(figure.spread),
    figure.cpuMicros.toFixed(1),
    percent(figure.busy),
    figure.p99Ms?.toFixed(1) ?? "-",
    figure.rssMb.toFixed(0),
    ...ratios(name, own, figure),
    figure.dropped.length === 0 ? "" : `${figure.dropped.length} rounds did not count: ${figure.dropped[0]}`,
  ]);
  const singular = unit === "MiB" ? unit : unit.replace(/s$/, "");
  const header = [
    "",
    `${unit}/s`,
    "spread",
    `CPU µs/${singular}`,
    "busy",
    "p99 ms",
    "RSS MiB",
    "ours/its rate",
    "its/our CPU",
    "",
  ];
  const table = rows.length === 0 ? "" : grid(header, rows);
  return `\n${title}\n${table}${refusals(refused)}`;
}

function ratios(name: string, own: Figures | undefined, other: Figures): readonly [string, string] {
  if (own === undefined || name === OWN) return ["", ""];
  const { value, by, cpu } = ratioOf(own, other);
  return [by === "rate" ? value.toFixed(2) : `(${(own.rate / other.rate).toFixed(2)})`, cpu.toFixed(2)];
}

function refusals(refused: Readonly<Record<string, string>>): string {
  return Object.entries(refused)
    .map(([name, reason]) => `  ${name}: refused: ${reason}\n`)
    .join("");
}

function addedLine(result: LoadResult): string {
  const added = Object.keys(result.figures).flatMap((name) => {
    const value = addedP99Ms(result, name);
    return value === undefined || name === "direct" ? [] : [`${name} ${value.toFixed(2)}`];
  });
  return `  added at p99, ms: ${added.join(", ")}\n`;
}

function memoryTable({ figures, refused }: MemoryResult): string {
  const rows = Object.entries(figures).map(([name, { restMb, idleBytes }]) => [
    name,
    restMb.toFixed(1),
    (idleBytes / 1000).toFixed(1),
  ]);
  const table = grid(["", "at rest, MB", "per idle connection, KB"], rows);
  return `\nmemory: 5,000 routes, all features on\n${table}${refusals(refused)}`;
}

function snapshotTable(snapshot: Readonly<Record<string, SnapshotTimes>>): string {
  const rows = Object.entries(snapshot).map(([routes, times]) => [
    routes,
    times.verifyMs.toFixed(1),
    times.compileMs.toFixed(1),
    (times.verifyMs + times.compileMs).toFixed(1),
    String(Math.round(times.bytes / 1024)),
    (times.heldBytes / 1_048_576).toFixed(1),
  ]);
  const header = ["routes", "verify+decode", "compile", "together", "KiB", "held MiB"];
  return `\nsnapshot, milliseconds (medians)\n${grid(header, rows)}`;
}

function edgeTables({ workers, together = {}, isolate, propagation }: EdgeFigures): string {
  const { routes, cpuMs, firstCpuMs, memoryMb, bytes } = isolate;
  const costs = [cpuMs.toFixed(1), firstCpuMs.toFixed(1), memoryMb.toFixed(1), String(Math.round(bytes / 1024))];
  const shared = Object.entries(together).map(([name, { ratio, error, rounds }]) => [
    name,
    ratio.toFixed(3),
    error.toFixed(3),
    String(rounds),
  ]);
  const times = (["widening", "narrowing"] as const).map((kind) => {
    const { p50Ms, p99Ms } = propagation[kind];
    return [kind, p50Ms.toFixed(0), p99Ms.toFixed(0)];
  });
  return [
    rowTable("edge: Workers on workerd, in turns", "requests", { figures: workers, refused: {} }),
    `\nedge: Workers under load at once, a slice each: requests per second of processor time\n${grid(["", "ours/its", "error", "rounds"], shared)}`,
    `\nedge: a snapshot in an isolate\n${grid(["routes", "CPU ms", "first, CPU ms", "MiB per isolate", "KiB"], [[String(routes), ...costs]])}`,
    `\nedge: commit to the first request held against it, ${propagation.changes} changes of each class, ms\n${grid(["change", "p50", "p99"], times)}`,
  ].join("");
}

/** Bars of everything that this run measured. */
export function barsOf(results: Results): readonly Bar[] {
  return [
    ...ROWS.flatMap((row) => (results.rows[row.name] === undefined ? [] : row.bars(results))),
    ...(results.memory === undefined ? [] : memoryBars(results.memory)),
    ...otherBars(results),
  ];
}

/** Every bar, met or missed, with the figure. */
export function barLines(results: Results): string {
  const lines = barsOf(results).map((bar) => {
    const { what, value, bar: limit, atLeast, unit, note, unjudged } = bar;
    const suffix = unit === undefined ? "" : ` ${unit}`;
    const figure = value === undefined ? "-" : `${value.toFixed(2)}${suffix}`;
    const remark = [unjudged, note].filter((text) => text !== undefined).join("; ");
    const asked = `${atLeast ? "at least" : "at most"} ${Number(limit.toFixed(2))}${suffix}`;
    return `  ${verdictOf(bar).padEnd(10)}  ${what}: ${figure} (${asked})${remark === "" ? "" : `  [${remark}]`}\n`;
  });
  return lines.length === 0 ? "" : `\nbars\n${lines.join("")}`;
}

function grid(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `  ${cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd()}\n`;
  return line(header) + rows.map(line).join("");
}
