/**
 * Metrics in shared memory: each thread counts in a block of its own (one writer, no locks), the main thread reads them all and adds up.
 *
 * A series is looked up once and then is a place in memory. A block holds a bounded number of them; what comes after is
 * counted in one series per metric whose labels all say `overflow`, so no caller can grow the memory.
 */
import type { MetricDefinition } from "../core/index.ts";

/** Bytes of one thread's block: some 15,000 series of the widest kind. Pages that no series has touched cost nothing. */
export const METRICS_BLOCK_BYTES = 8 * 1024 * 1024;

/** What a thread tells the main thread about a series, before it counts in it. */
export interface SeriesNotice {
  readonly definition: MetricDefinition;
  readonly labels: readonly string[];
  /** Index of its first number in the block. */
  readonly at: number;
}

export interface Counter {
  add(amount: number): void;
}
export interface Gauge {
  set(value: number): void;
}
export interface Histogram {
  observe(value: number): void;
}

class Cell implements Counter, Gauge {
  readonly #numbers: Float64Array;
  readonly #at: number;

  constructor(numbers: Float64Array, at: number) {
    this.#numbers = numbers;
    this.#at = at;
  }

  add(amount: number): void {
    this.#numbers[this.#at] = (this.#numbers[this.#at] as number) + amount;
  }

  set(value: number): void {
    this.#numbers[this.#at] = value;
  }
}

/** In memory: the sum, then a count per bucket, the infinite one last. Counts are not cumulative here. */
class Buckets implements Histogram {
  readonly #numbers: Float64Array;
  readonly #at: number;
  readonly #bounds: readonly number[];

  constructor(numbers: Float64Array, at: number, bounds: readonly number[]) {
    this.#numbers = numbers;
    this.#at = at;
    this.#bounds = bounds;
  }

  observe(value: number): void {
    const numbers = this.#numbers;
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    numbers[this.#at] = (numbers[this.#at] as number) + value;
    const place = this.#at + 1 + bucket;
    numbers[place] = (numbers[place] as number) + 1;
  }
}

/** The metrics of one thread. */
export class MetricsBlock {
  readonly #numbers: Float64Array;
  readonly #announce: (notice: SeriesNotice) => void;
  readonly #known = new Map<string, number>();
  #used = 0;

  constructor(memory: SharedArrayBuffer, announce: (notice: SeriesNotice) => void) {
    this.#numbers = new Float64Array(memory);
    this.#announce = announce;
  }

  counter(definition: MetricDefinition, labels: readonly string[] = []): Counter {
    return new Cell(this.#numbers, this.#place(definition, labels, 1));
  }

  gauge(definition: MetricDefinition, labels: readonly string[] = []): Gauge {
    return new Cell(this.#numbers, this.#place(definition, labels, 1));
  }

  histogram(definition: MetricDefinition, labels: readonly string[] = []): Histogram {
    const bounds = definition.buckets ?? [];
    return new Buckets(this.#numbers, this.#place(definition, labels, bounds.length + 2), bounds);
  }

  /** Room for no more series of any width but those for `overflow`. */
  get full(): boolean {
    return this.#used > this.#numbers.length - RESERVE;
  }

  #place(definition: MetricDefinition, labels: readonly string[], width: number): number {
    const key = `${definition.name}\n${labels.join("\n")}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.full && labels.some((label) => label !== OVERFLOW)) {
      return this.#place(
        definition,
        labels.map(() => OVERFLOW),
        width,
      );
    }
    const at = this.#used;
    if (at + width > this.#numbers.length) throw new RangeError("more metrics are defined than a block has room for");
    this.#used += width;
    this.#known.set(key, at);
    this.#announce({ definition, labels, at });
    return at;
  }
}

const OVERFLOW = "overflow";
/** Numbers kept free for the series that take the overflow, and those without labels. */
const RESERVE = 4096;

/** Series that are kept of threads that are over: as many as a block has at most. */
export const MAX_RETIRED_SERIES = 15_000;

export interface NewBlock {
  readonly memory: SharedArrayBuffer;
  readonly announce: (notice: SeriesNotice) => void;
  readonly retire: () => void;
}

interface Block {
  readonly numbers: Float64Array;
  readonly series: SeriesNotice[];
}

/** All threads' metrics, as the main thread sees them. */
export class MetricsRegistry {
  readonly #blocks = new Set<Block>();
  /** What threads had counted that are over. */
  readonly #retired = new Map<string, Metric>();
  #retiredSeries = 0;

  /** Makes the memory of one more thread and the way to announce its series; `retire` when the thread is over. */
  block(): NewBlock {
    const memory = new SharedArrayBuffer(METRICS_BLOCK_BYTES);
    const block: Block = { numbers: new Float64Array(memory), series: [] };
    this.#blocks.add(block);
    return { memory, announce: (notice) => block.series.push(notice), retire: () => this.#retire(block) };
  }

  /** What was counted stays, gauges go: nobody has those connections any more. The block's memory is free. */
  #retire(block: Block): void {
    if (!this.#blocks.delete(block)) return;
    for (const { definition, labels, at } of block.series) {
      if (definition.kind === "gauge") continue;
      const isRoom = this.#retiredSeries < MAX_RETIRED_SERIES;
      const made = addInto(this.#retired, definition, isRoom ? labels : labels.map(() => OVERFLOW), block.numbers, at);
      if (made) this.#retiredSeries += 1;
    }
  }

  /** Prometheus text format 0.0.4. Threads are added up, gauges too: each tells its own share. */
  exposition(): string {
    let text = "";
    for (const [, metric] of [...this.#collect()].sort(([one], [other]) => (one < other ? -1 : 1))) text += expose(metric);
    return text;
  }

  #collect(): Map<string, Metric> {
    const metrics = new Map<string, Metric>();
    for (const { definition, series } of this.#retired.values())
      for (const { labels, values } of series.values()) addInto(metrics, definition, labels, values, 0);
    for (const { numbers, series } of this.#blocks)
      for (const { definition, labels, at } of series) addInto(metrics, definition, labels, numbers, at);
    return metrics;
  }
}

interface Metric {
  readonly definition: MetricDefinition;
  readonly series: Map<string, { readonly labels: readonly string[]; readonly values: number[] }>;
}

/** @returns whether that is a series which there was not */
function addInto(
  metrics: Map<string, Metric>,
  definition: MetricDefinition,
  labels: readonly string[],
  numbers: ArrayLike<number>,
  at: number,
): boolean {
  let metric = metrics.get(definition.name);
  if (metric === undefined) {
    metric = { definition, series: new Map() };
    metrics.set(definition.name, metric);
  }
  const { kind, buckets = [] } = definition;
  const width = kind === "histogram" ? buckets.length + 2 : 1;
  const key = labels.join("\n");
  const known = metric.series.get(key);
  const sum = known ?? { labels, values: new Array<number>(width).fill(0) };
  if (known === undefined) metric.series.set(key, sum);
  for (let i = 0; i < width; i++) sum.values[i] = (sum.values[i] ?? 0) + (numbers[at + i] ?? 0);
  return known === undefined;
}

function expose({ definition, series }: Metric): string {
  const { name, kind, help, labels: names, buckets = [] } = definition;
  let text = `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${kind}\n`;
  for (const { labels, values } of series.values()) {
    const pairs = names.map((label, i) => `${label}="${escapeLabel(labels[i] ?? "")}"`);
    if (kind !== "histogram") {
      text += `${name}${braced(pairs)} ${values[0] ?? 0}\n`;
      continue;
    }
    let count = 0;
    for (let i = 0; i <= buckets.length; i++) {
      count += values[i + 1] ?? 0;
      text += `${name}_bucket${braced([...pairs, `le="${i === buckets.length ? "+Inf" : buckets[i]}"`])} ${count}\n`;
    }
    text += `${name}_sum${braced(pairs)} ${values[0] ?? 0}\n${name}_count${braced(pairs)} ${count}\n`;
  }
  return text;
}

function braced(pairs: readonly string[]): string {
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
