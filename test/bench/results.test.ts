import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { newestKept, writeResults } from "./results.ts";

test("a run is written with every workload's figures by contender, and is read back as it was", () => {
  const directory = mkdtempSync(join(tmpdir(), "tidegate-results-"));
  try {
    const kept = newestKept();
    const file = join(directory, "figures.json");
    writeResults(file, kept);
    const written = JSON.parse(readFileSync(file, "utf8")) as { workloads: Record<string, Record<string, object>> };
    expect(Object.keys(written.workloads)).toEqual(Object.keys(kept.rows));
    for (const [name, { figures }] of Object.entries(kept.rows)) {
      expect(Object.keys(written.workloads[name] ?? {})).toEqual(Object.keys(figures));
      for (const [contender, { rate, cpuMicros, p99Ms, rssMb }] of Object.entries(figures)) {
        const told = { rps: rate, cpuMicros, rssMb, ...(p99Ms !== undefined && { p99Ms }) };
        expect(written.workloads[name]?.[contender]).toEqual(told);
      }
    }
    expect(newestKept(directory)).toMatchObject(kept);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
