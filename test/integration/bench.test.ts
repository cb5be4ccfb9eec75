import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Results } from "../bench/report.ts";
import { needs } from "../support/needs.ts";

const tools = needs("nginx", "haproxy", "wrk", "envoy");

/** That it runs and tells everything; what the figures are is for a quiet machine to say. */
test.skipIf(tools.missing || availableParallelism() < 2)(
  `the bench measures every proxy, snapshots, propagation and the edge in one run${tools.note}`,
  { timeout: 240_000 },
  () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-bench-test-"));
    try {
      const file = join(directory, "figures.json");
      const args = ["test/bench/main.ts", "--quick", "--rounds", "1", "--seconds", "1", "--json", file];
      const printed = execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      const results = JSON.parse(readFileSync(file, "utf8")) as Results;
      expect(Object.keys(results.workloads["http1-plain"] ?? {}).sort()).toEqual([
        "envoy",
        "haproxy",
        "nginx",
        "relay",
        "tidegate",
      ]);
      expect(Object.keys(results.workloads["http1-full"] ?? {}).sort()).toEqual(["envoy", "haproxy", "nginx", "tidegate"]);
      for (const proxies of Object.values(results.workloads)) {
        for (const round of Object.values(proxies)) {
          for (const figure of [round.rps, round.cpuMicros, round.p99Ms, round.rssMb]) expect(figure).toBeGreaterThan(0);
        }
      }
      expect(Object.keys(results.snapshot)).toEqual(["100", "1000", "5000"]);
      expect(results.snapshot["5000"]?.compileMs).toBeGreaterThan(0);
      expect(results.propagation).toMatchObject({ gateways: 10, changes: 40 });
      expect(Object.keys(results.edge?.workers ?? {}).sort()).toEqual(["hono", "pass-through", "tidegate"]);
      const { isolate, propagation } = results.edge ?? {};
      for (const figure of [isolate?.cpuMs, isolate?.memoryMb, propagation?.widening.p99Ms, propagation?.narrowing.p99Ms]) {
        expect(figure).toBeGreaterThan(0);
      }
      expect(results.missing).toEqual({});
      expect(printed).toMatch(/plain, requests\/s against the bare relay/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
