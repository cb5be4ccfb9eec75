/** The figures as tables, and against the bars that they are held to. */
import type { EdgeFigures } from "./edge.ts";
import type { Round } from "./measure.ts";
import type { Propagation } from "./propagation.ts";
import type { SnapshotTimes } from "./snapshot.ts";

export interface Results {
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryMb: number;
    readonly kernel: string;
    readonly node: string;
    /** /proc/loadavg at the end: what else the machine was doing. */
    readonly load: string;
  };
  readonly rounds: number;
  readonly seconds: number;
  readonly workloads: Readonly<Record<string, Readonly<Record<string, Round>>>>;
  readonly snapshot: Readonly<Record<string, SnapshotTimes>>;
  readonly propagation?: Propagation;
  readonly edge?: EdgeFigures;
  /** Peers that could not run, and why. */
  readonly missing: Readonly<Record<string, string>>;
}

export function renderTables(results: Results): string {
  const { machine } = results;
  const parts = [`\n${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, load ${machine.load}\n`];
  for (const [name, proxies] of Object.entries(results.workloads)) parts.push(roundTable(name, proxies, "nginx"));
  for (const [name, reason] of Object.entries(results.missing)) parts.push(`${name}: missing: ${reason}\n`);
  if (Object.keys(results.snapshot).length > 0) {
    const rows = Object.entries(results.snapshot).map(([routes, times]) => [
      routes,
      times.verifyMs.toFixed(1),
      times.compileMs.toFixed(1),
      (times.verifyMs + times.compileMs).toFixed(1),
      String(Math.round(times.bytes / 1024)),
      mebibytes(times.heldBytes).toFixed(1),
    ]);
    const header = ["routes", "verify+decode", "compile", "together", "KiB", "held MiB"];
    parts.push(`\nsnapshot, milliseconds (medians)\n${grid(header, rows)}`);
  }
  if (results.propagation !== undefined) {
    const { gateways, changes, p50Ms, p99Ms } = results.propagation;
    parts.push(
      `\ncommit to enforced on ${gateways} gateways, ${changes} changes: p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms\n`,
    );
  }
  if (results.edge !== undefined) parts.push(edgeTables(results.edge));
  return parts.join("");
}

function edgeTables({ workers, isolate, propagation }: EdgeFigures): string {
  const { routes, cpuMs, firstCpuMs, memoryMb, bytes } = isolate;
  const costs = [cpuMs.toFixed(1), firstCpuMs.toFixed(1), memoryMb.toFixed(1), String(Math.round(bytes / 1024))];
  const times = (["widening", "narrowing"] as const).map((kind) => {
    const { p50Ms, p99Ms } = propagation[kind];
    return [kind, p50Ms.toFixed(0), p99Ms.toFixed(0)];
  });
  return [
    roundTable("edge: Workers on workerd", workers, "pass-through"),
    `\nedge: a snapshot in an isolate\n${grid(["routes", "CPU ms", "first, CPU ms", "MiB per isolate", "KiB"], [[String(routes), ...costs]])}`,
    `\nedge: commit to the first request held against it, ${propagation.changes} changes of each class, ms\n${grid(["change", "p50", "p99"], times)}`,
  ].join("");
}

function roundTable(name: string, proxies: Readonly<Record<string, Round>>, baseName: string): string {
  const base = proxies[baseName];
  const rows = Object.entries(proxies).map(([peer, round]) => [
    peer,
    round.rps.toFixed(0),
    round.cpuMicros.toFixed(1),
    round.p99Ms.toFixed(1),
    round.rssMb.toFixed(0),
    base === undefined ? "-" : (round.rps / base.rps).toFixed(2),
    base === undefined ? "-" : (round.cpuMicros / base.cpuMicros).toFixed(2),
  ]);
  return `\n${name}\n${grid(["proxy", "requests/s", "CPU µs/request", "p99 ms", "RSS MiB", `rate / ${baseName}`, `CPU / ${baseName}`], rows)}`;
}

interface Bar {
  readonly what: string;
  readonly value: number | undefined;
  readonly bar: number;
  /** Whether more is better. */
  readonly atLeast: boolean;
}

function edgeBars({ workers, isolate, propagation }: EdgeFigures): readonly Bar[] {
  const own = workers["tidegate"]?.rps;
  const bare = workers["pass-through"]?.rps;
  const rate = own === undefined || bare === undefined ? undefined : own / bare;
  return [
    { what: "edge, requests/s against a bare pass-through Worker", value: rate, bar: 0.8, atLeast: true },
    { what: "edge, verify + compile of 5,000 routes, CPU ms", value: isolate.cpuMs, bar: 50, atLeast: false },
    { what: "edge, MiB per isolate with 5,000 routes", value: isolate.memoryMb, bar: 40, atLeast: false },
    { what: "edge, commit to enforced, p99 ms", value: propagation.widening.p99Ms, bar: 3_000, atLeast: false },
    { what: "edge, a narrowing commit to enforced, p99 ms", value: propagation.narrowing.p99Ms, bar: 1_000, atLeast: false },
  ];
}

/** Every bar, met or missed, with the figure. */
export function barLines(results: Results): string {
  const plain = results.workloads["http1-plain"];
  const full = results.workloads["http1-full"];
  const own = plain?.["tidegate"];
  const ratio = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined || b === 0 ? undefined : a / b;
  const times = results.snapshot["5000"];
  const bars: Bar[] = [
    { what: "plain, requests/s against the bare relay", value: ratio(own?.rps, plain?.["relay"]?.rps), bar: 0.8, atLeast: true },
    {
      what: "plain, CPU of the bare relay against ours",
      value: ratio(plain?.["relay"]?.cpuMicros, own?.cpuMicros),
      bar: 0.8,
      atLeast: true,
    },
    { what: "plain, requests/s against Envoy", value: ratio(own?.rps, plain?.["envoy"]?.rps), bar: 2, atLeast: true },
    {
      what: "plain, CPU of Envoy against ours",
      value: ratio(plain?.["envoy"]?.cpuMicros, own?.cpuMicros),
      bar: 2,
      atLeast: true,
    },
    {
      what: "full chain, requests/s against our plain",
      value: ratio(full?.["tidegate"]?.rps, own?.rps),
      bar: 0.75,
      atLeast: true,
    },
    {
      what: "full chain, CPU of our plain against it",
      value: ratio(own?.cpuMicros, full?.["tidegate"]?.cpuMicros),
      bar: 0.75,
      atLeast: true,
    },
    { what: "verify + compile of 5,000 routes, ms", value: times && times.verifyMs + times.compileMs, bar: 50, atLeast: false },
    { what: "memory that 5,000 routes hold, MiB", value: times && mebibytes(times.heldBytes), bar: 40, atLeast: false },
    { what: "commit to enforced, p99 ms", value: results.propagation?.p99Ms, bar: 100, atLeast: false },
    ...(results.edge === undefined ? [] : edgeBars(results.edge)),
  ];
  const lines = bars
    .filter((bar): bar is Bar & { readonly value: number } => bar.value !== undefined)
    .map(({ what, value, bar, atLeast }) => {
      const met = atLeast ? value >= bar : value <= bar;
      return `  ${met ? "met   " : "MISSED"}  ${what}: ${value.toFixed(2)} (${atLeast ? "at least" : "at most"} ${bar})\n`;
    });
  return lines.length === 0 ? "" : `\nbars\n${lines.join("")}`;
}

function mebibytes(bytes: number): number {
  return bytes / 1_048_576;
}

function grid(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ")}\n`;
  return line(header) + rows.map(line).join("");
}
