import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OWN } from "../bench/peers/tidegate.ts";
import type { LoadResult, Results } from "../bench/results.ts";
import { ROWS } from "../bench/rows/index.ts";
import { needs } from "../support/needs.ts";

const tools = needs("nginx", "nginx-stream", "haproxy", "wrk", "h2load", "ab", "envoy");

/** Why there are no figures where nothing is wrong: the machine was too busy. */
const TOO_BUSY = /^no round counted: |Socket errors|did not come to rest/;

/** Who has figures, or would have them on a quiet machine. */
function measurable(result: (Pick<LoadResult, "refused"> & { readonly figures: object }) | undefined): readonly string[] {
  const { figures = {}, refused = {} } = result ?? {};
  const missed = Object.entries(refused).filter(([, reason]) => TOO_BUSY.test(reason));
  return [...Object.keys(figures), ...missed.map(([name]) => name)].sort();
}

/** That it runs and tells everything; what the figures are is for a quiet machine to say. */
test.skipIf(tools.missing || availableParallelism() < 2)(
  `the bench measures every proxy in every row, snapshots, propagation and the edge in one run${tools.note}`,
  { timeout: 600_000 },
  () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-bench-test-"));
    try {
      const file = join(directory, "figures.json");
      const parts = [...ROWS.map((row) => row.name), "memory", "snapshot", "propagation", "edge"];
      const args = [
        "test/bench/main.ts",
        "--quick",
        "--only",
        parts.join(","),
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--json",
        file,
      ];
      const printed = execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      const results = JSON.parse(readFileSync(file, "utf8")) as Results;
      for (const row of ROWS) {
        const { figures = {}, refused = {} } = results.rows[row.name] ?? {};
        // On a busy machine a round may not count, and then the reason is told.
        expect(Object.keys({ ...figures, ...refused }).sort()).toEqual(row.contenders.map(({ name }) => name).sort());
        for (const { rate, cpuMicros, rssMb } of Object.values(figures)) {
          for (const figure of [rate, cpuMicros, rssMb]) expect(figure).toBeGreaterThan(0);
        }
        expect(printed).toContain(`${row.name}: ${row.title}`);
      }
      expect(measurable(results.rows["http1-plain"])).toEqual(["envoy", "haproxy", "nginx", "relay", OWN]);
      expect(measurable(results.memory)).toEqual(["envoy", "haproxy", "nginx", OWN]);
      expect(Object.keys(results.snapshot ?? {})).toEqual(["100", "1000", "5000"]);
      expect(results.snapshot?.["5000"]?.compileMs).toBeGreaterThan(0);
      expect(results.propagation).toMatchObject({ gateways: 10, changes: 40 });
      expect(Object.keys(results.edge?.workers ?? {}).sort()).toEqual(["hono", "pass-through", OWN]);
      const { isolate, propagation } = results.edge ?? {};
      for (const figure of [isolate?.cpuMs, isolate?.memoryMb, propagation?.widening.p99Ms, propagation?.narrowing.p99Ms]) {
        expect(figure).toBeGreaterThan(0);
      }
      expect(printed).toMatch(/HTTP\/1\.1 plain against the bare relay/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
