/** The part of `docs/performance.md` that is made from the kept figures, and the chart beside it. */
import { readFileSync, writeFileSync } from "node:fs";
import { verdictOf } from "./bars.ts";
import { chartSvg } from "./chart.ts";
import { type ComparedRow, compare, OTHERS } from "./comparison.ts";
import { barsOf } from "./report.ts";
import type { Results } from "./results.ts";

export const PAGE = "docs/performance.md";
export const CHART = "docs/performance.svg";
const BEGIN = "<!-- figures: made by npm run bench -- --keep -->";
const END = "<!-- end of figures -->";

export function writePage(results: Results): void {
  writeFileSync(PAGE, pageWith(readFileSync(PAGE, "utf8"), results));
  writeFileSync(CHART, chartSvg(results));
}

/** The page with these figures in place of what it had. */
export function pageWith(page: string, results: Results): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`${PAGE}: the place for figures is gone: ${BEGIN} … ${END}`);
  return page.slice(0, begin + BEGIN.length) + figures(results) + page.slice(end);
}

function figures(results: Results): string {
  const { at, commit, machine, rounds, seconds, failed = {} } = results;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const broken = Object.entries(failed).map(([name, reason]) => `\nNot measured in this run: ${name} (${reason}).\n`);
  return `
Measured on ${at.slice(0, 10)} at \`${commit}\`, medians of ${rounds} rounds of ${seconds} s: ${machine.cpu}, ${machine.cores} cores,
${Math.round(machine.memoryMb / 1024)} GiB, ${machine.system}, Linux ${machine.kernel}, Node ${machine.node}; ${versions.join(", ")}. Load average before the run ${loadOf(machine.load[0])}, after it
${loadOf(machine.load[1])}.

${table(["workload", "ours", ...OTHERS.map((other) => `÷ ${other}`)], compare(results).map(comparedCells))}

${broken.join("")}${table(["", "bar", "figure", "asked for", "remark"], barsOf(results).map(barCells))}
`;
}

function loadOf(line: string): string {
  return line.split(" ").slice(0, 3).join(" ");
}

function comparedCells({ label, own, ratios, refused }: ComparedRow): readonly string[] {
  return [
    label,
    refused === undefined ? own : `no figure: ${refused}`,
    ...OTHERS.map((other) => ratios[other]?.toFixed(2) ?? ""),
  ];
}

function barCells(bar: ReturnType<typeof barsOf>[number]): readonly string[] {
  const { what, value, bar: limit, atLeast, unit = "", note = "", unjudged = "" } = bar;
  const remark = [unjudged, note].filter((text) => text !== "").join("; ");
  const asked = `${atLeast ? "≥" : "≤"} ${Number(limit.toFixed(2))} ${unit}`.trim();
  return [verdictOf(bar), what, value === undefined ? "" : `${value.toFixed(2)} ${unit}`.trim(), asked, remark];
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replace(/\|/g, "\\|")).join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}
