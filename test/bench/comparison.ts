/** Every row as ratios of ours to the others', which is what chart and page show: above 1 ours is better, whatever is counted. */
import { ratioOf } from "./bars.ts";
import { OWN } from "./peers/tidegate.ts";
import type { LoadResult, MemoryResult, Results } from "./results.ts";
import { ROWS } from "./rows/index.ts";
import { addedP99Ms, addedRatio, latency } from "./rows/latency.ts";
import type { MemoryFigures } from "./rows/memory.ts";
import type { Row } from "./rows/row.ts";

/** In the order in which they are shown. */
export const OTHERS = ["relay", "nginx", "haproxy", "envoy"] as const;
export type Other = (typeof OTHERS)[number];

export interface ComparedRow {
  readonly name: string;
  readonly label: string;
  /** Our own figure, as people read it. */
  readonly own: string;
  readonly ratios: Readonly<Partial<Record<Other, number>>>;
  /** The ratio that is asked for. */
  readonly asked: Readonly<Partial<Record<Other, number>>>;
  /** Why there is nothing of ours. */
  readonly refused?: string;
}

export function compare(results: Results): readonly ComparedRow[] {
  const rows = ROWS.filter(isCompared).flatMap((row): readonly ComparedRow[] => {
    const result = results.rows[row.name];
    if (result === undefined) return [];
    const asked = Object.fromEntries(row.bars(results).flatMap(({ other, bar }) => (isOther(other) ? [[other, bar]] : [])));
    const refused = result.refused[OWN];
    const about = { name: row.name, label: row.label, asked, ...(refused !== undefined && { refused }) };
    return [row === latency ? { ...about, ...addedLatency(result) } : { ...about, ...rates(result, row.unit) }];
  });
  return [...rows, ...(results.memory === undefined ? [] : memoryRows(results.memory))];
}

/** Rows in which we are held against ourselves alone have bars and no ratios. */
function isCompared({ contenders }: Row): boolean {
  return contenders.some(({ name }) => name === OWN) && contenders.some(({ name }) => isOther(name));
}

function isOther(name: string | undefined): name is Other {
  return OTHERS.some((other) => other === name);
}

function rates({ figures }: LoadResult, unit: string): Pick<ComparedRow, "own" | "ratios"> {
  const own = figures[OWN];
  if (own === undefined) return { own: "-", ratios: {} };
  const ratios = byOther((other) => {
    const theirs = figures[other];
    return theirs === undefined ? undefined : ratioOf(own, theirs).value;
  });
  return { own: `${Math.round(own.rate).toLocaleString("en")} ${unit}/s, ${own.cpuMicros.toFixed(0)} µs`, ratios };
}

function addedLatency(result: LoadResult): Pick<ComparedRow, "own" | "ratios"> {
  const added = addedP99Ms(result, OWN);
  return { own: added === undefined ? "-" : `${added.toFixed(2)} ms`, ratios: byOther((other) => addedRatio(result, other)) };
}

function memoryRows({ figures, refused }: MemoryResult): readonly ComparedRow[] {
  const row = (
    name: string,
    label: string,
    figure: (one: MemoryFigures) => number,
    own: (value: number) => string,
  ): ComparedRow => {
    const of = (contender: string) => (figures[contender] === undefined ? undefined : figure(figures[contender]));
    const value = of(OWN);
    const reason = refused[OWN];
    return {
      ...{ name, label, asked: {}, ratios: lessIsBetter(value, of), own: value === undefined ? "-" : own(value) },
      ...(reason !== undefined && { refused: reason }),
    };
  };
  return [
    row(
      "memory at rest",
      "memory at rest, 5,000 routes",
      ({ restMb }) => restMb,
      (mb) => `${mb.toFixed(0)} MB`,
    ),
    row(
      "memory per connection",
      "memory per idle connection",
      ({ idleBytes }) => idleBytes,
      (bytes) => `${(bytes / 1000).toFixed(1)} KB`,
    ),
  ];
}

function byOther(ratio: (other: Other) => number | undefined): ComparedRow["ratios"] {
  return Object.fromEntries(
    OTHERS.flatMap((other) => {
      const value = ratio(other);
      return value === undefined ? [] : [[other, value]];
    }),
  );
}

/** A figure that is not above 0 was too small to be measured, and nothing can be said of its ratio. */
function lessIsBetter(own: number | undefined, figure: (other: Other) => number | undefined): ComparedRow["ratios"] {
  return byOther((other) => {
    const theirs = figure(other);
    return own === undefined || own <= 0 || theirs === undefined || theirs <= 0 ? undefined : theirs / own;
  });
}
