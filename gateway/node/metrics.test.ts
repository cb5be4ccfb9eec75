import { describe, expect, it } from "vitest";
import type { MetricDefinition } from "../core/index.ts";
import { MAX_RETIRED_SERIES, MetricsBlock, MetricsRegistry } from "./metrics.ts";

const REQUESTS: MetricDefinition = { name: "requests_total", kind: "counter", help: "All\nof them.", labels: ["code"] };
const TIMES: MetricDefinition = { name: "times", kind: "histogram", help: "Times.", labels: ["code"], buckets: [1, 10] };
const OPEN: MetricDefinition = { name: "open", kind: "gauge", help: "Open.", labels: [] };

function twoThreads(): { registry: MetricsRegistry; blocks: MetricsBlock[] } {
  const registry = new MetricsRegistry();
  const blocks = [registry.block(), registry.block()].map(({ memory, announce }) => new MetricsBlock(memory, announce));
  return { registry, blocks };
}

describe("metrics", () => {
  it("adds threads up, in Prometheus' text form", () => {
    const { registry, blocks } = twoThreads();
    blocks.forEach((block, thread) => {
      block.counter(REQUESTS, ["200"]).add(1 + thread);
      block.gauge(OPEN).set(5);
      for (const ms of [0.5, 1, 7, 100]) block.histogram(TIMES, ['a"\\\n']).observe(ms);
    });
    expect(registry.exposition()).toBe(
      [
        "# HELP open Open.",
        "# TYPE open gauge",
        "open 10",
        "# HELP requests_total All\\nof them.",
        "# TYPE requests_total counter",
        'requests_total{code="200"} 3',
        "# HELP times Times.",
        "# TYPE times histogram",
        'times_bucket{code="a\\"\\\\\\n",le="1"} 4',
        'times_bucket{code="a\\"\\\\\\n",le="10"} 6',
        'times_bucket{code="a\\"\\\\\\n",le="+Inf"} 8',
        'times_sum{code="a\\"\\\\\\n"} 217',
        'times_count{code="a\\"\\\\\\n"} 8',
        "",
      ].join("\n"),
    );
  });

  it("counts in one place however often a series is asked for", () => {
    const { registry, blocks } = twoThreads();
    for (let i = 0; i < 3; i++) blocks[0]?.counter(REQUESTS, ["200"]).add(1);
    expect(registry.exposition()).toContain('requests_total{code="200"} 3\n');
  });

  it("keeps what a thread has counted that is over, and not its gauges", () => {
    const { registry, blocks } = twoThreads();
    const third = registry.block();
    for (const block of [...blocks, new MetricsBlock(third.memory, third.announce)]) {
      block.counter(REQUESTS, ["200"]).add(2);
      block.gauge(OPEN).set(5);
      block.histogram(TIMES, ["b"]).observe(3);
    }
    third.retire();
    third.retire();
    blocks[0]?.counter(REQUESTS, ["200"]).add(1);
    const text = registry.exposition();
    expect(text).toContain('requests_total{code="200"} 7\n');
    expect(text).toContain("open 10\n");
    expect(text).toContain('times_bucket{code="b",le="10"} 3\n');
  });

  it("keeps so many series of threads that are over, and the rest in one", () => {
    const registry = new MetricsRegistry();
    for (let thread = 0; thread < 2; thread++) {
      const { announce, retire } = registry.block();
      for (let i = 0; i < MAX_RETIRED_SERIES; i++) announce({ definition: REQUESTS, labels: [`${thread} ${i}`], at: i });
      retire();
    }
    expect(
      registry
        .exposition()
        .split("\n")
        .filter((line) => line.startsWith("requests_total{")),
    ).toHaveLength(MAX_RETIRED_SERIES + 1);
    expect(registry.exposition()).toContain('requests_total{code="overflow"} 0\n');
  });

  it("puts what no longer fits into a series of its own, and never grows", () => {
    const notices: unknown[] = [];
    const block = new MetricsBlock(new SharedArrayBuffer(8 * (4096 + 100)), (notice) => notices.push(notice));
    for (let i = 0; i < 5000; i++) block.counter(REQUESTS, [`code ${i}`]).add(1);
    expect(block.full).toBe(true);
    expect(notices).toHaveLength(102);
    expect(notices.at(-1)).toMatchObject({ labels: ["overflow"] });
  });
});
