/** Page and chart are made from the newest kept figures: `UPDATE_DOCS=1` makes them anew. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { chartSvg, xOf } from "./chart.ts";
import { compare } from "./comparison.ts";
import { CHART, PAGE, pageWith, writePage } from "./page.ts";
import { OWN } from "./peers/tidegate.ts";
import { barLines, renderTables } from "./report.ts";
import { keptPath, newestKept, type Results } from "./results.ts";
import { ROWS } from "./rows/index.ts";

const kept = newestKept();

describe("the newest kept run", () => {
  if (process.env["UPDATE_DOCS"] === "1") writePage(kept);

  test("is what the page tells", () => {
    const page = readFileSync(PAGE, "utf8");
    expect(pageWith(page, kept)).toBe(page);
  });

  test("is what the chart shows", () => {
    expect(readFileSync(CHART, "utf8")).toBe(chartSvg(kept));
  });

  test("has every row, with figures or a reason for each contender", () => {
    for (const { name, contenders } of ROWS) {
      const { figures = {}, refused = {} } = kept.rows[name] ?? {};
      expect(Object.keys({ ...figures, ...refused }).sort(), name).toEqual(contenders.map((one) => one.name).sort());
    }
  });

  test("describes the machine", () => {
    expect(Object.keys(kept.machine.versions)).toEqual(expect.arrayContaining(["nginx", "haproxy", "envoy"]));
    expect(kept.machine.cores).toBeGreaterThan(1);
  });
});

/** The kept run with one figure of ours changed. */
function changed(row: string, factor: number): Results {
  const result = kept.rows[row]!;
  const own = result.figures[OWN]!;
  const figures = { ...result.figures, [OWN]: { ...own, rate: own.rate * factor, cpuMicros: own.cpuMicros / factor } };
  return { ...kept, rows: { ...kept.rows, [row]: { ...result, figures } } };
}

test("another figure makes another page and another chart", () => {
  const other = changed("http1-plain", 2);
  expect(pageWith(readFileSync(PAGE, "utf8"), other)).not.toBe(readFileSync(PAGE, "utf8"));
  expect(chartSvg(other)).not.toBe(chartSvg(kept));
});

test("twice the rate is twice every ratio of its row, and of no other", () => {
  const ratios = (results: Results) => new Map(compare(results).map((row) => [row.name, row.ratios]));
  const [before, after] = [ratios(kept), ratios(changed("http1-plain", 2))];
  for (const [name, row] of before) {
    for (const [other, ratio] of Object.entries(row)) {
      const factor = name === "http1-plain" ? 2 : 1;
      expect(after.get(name)?.[other as keyof typeof row], `${name} ${other}`).toBeCloseTo(ratio * factor);
    }
  }
});

test("the axis is logarithmic, and what lies beyond it is drawn at its end", () => {
  expect(xOf(2) - xOf(1)).toBeCloseTo(xOf(4) - xOf(2), 0);
  expect(xOf(1) - xOf(0.5)).toBeCloseTo(xOf(2) - xOf(1), 0);
  expect(xOf(1000)).toBe(xOf(10));
  expect(xOf(0)).toBe(xOf(0.1));
});

test("a workload that is refused is named in chart, page and tables, with the reason", () => {
  const { tidegate: _, ...figures } = kept.rows["tcp"]?.figures ?? {};
  const results: Results = {
    ...kept,
    rows: { ...kept.rows, tcp: { figures, refused: { [OWN]: "protocol <TCP> is | refused" } } },
  };
  expect(chartSvg(results)).toContain("no figure");
  expect(pageWith(readFileSync(PAGE, "utf8"), results)).toContain("no figure: protocol <TCP> is \\| refused");
  expect(renderTables(results)).toContain("tidegate: refused: protocol <TCP> is | refused");
  expect(barLines(results)).toMatch(/no figure {3}TCP ping-pong against HAProxy: - .*protocol <TCP>/);
});

test("a part that broke off is told, and what the others found stays", () => {
  const results: Results = { ...kept, failed: { edge: "workerd does not listen" } };
  expect(renderTables(results)).toContain("edge: FAILED: workerd does not listen");
  expect(pageWith(readFileSync(PAGE, "utf8"), results)).toContain("Not measured in this run: edge (workerd does not listen).");
  expect(barLines(results)).toBe(barLines(kept));
});

test("a page without the place for figures is not overwritten", () => {
  expect(() => pageWith("# Performance\n", kept)).toThrow(/the place for figures is gone/);
});

test("a second run of a day is kept beside the first", () => {
  const taken = new Set(["test/bench/results/2026-11-28.json", "test/bench/results/2026-11-28-2.json"]);
  const path = (at: string) => keptPath(at, (one) => taken.has(one));
  expect(path("2026-11-28T19:00:00.000Z")).toBe("test/bench/results/2026-11-28-3.json");
  expect(path("2026-11-29T19:00:00.000Z")).toBe("test/bench/results/2026-11-29.json");
});

test("the tables tell rounds that did not count", () => {
  const result = kept.rows["http1-plain"]!;
  const figures = { ...result.figures, nginx: { ...result.figures["nginx"]!, dropped: ["Socket errors: read 1"] } };
  const tables = renderTables({ ...kept, rows: { "http1-plain": { ...result, figures } } });
  expect(tables).toContain("1 rounds did not count: Socket errors: read 1");
  expect(tables).not.toContain("http1-full");
});
