/** The bars that figures are held to, and the one rule by which two proxies are compared. */

import type { EdgeFigures } from "./edge.ts";
import type { Figures } from "./measure.ts";
import { OWN } from "./peers/tidegate.ts";
import type { LoadResult, Results } from "./results.ts";

export interface Bar {
  readonly what: string;
  /** Undefined: nothing was measured. */
  readonly value: number | undefined;
  readonly bar: number;
  /** Whether more is better. */
  readonly atLeast: boolean;
  readonly unit?: string;
  /** The contender that ours is held against, where `value` and `bar` are ratios to it. */
  readonly other?: string;
  /** What else to know when reading it. */
  readonly note?: string;
  /** Why the figure says nothing here. */
  readonly unjudged?: string;
}

export interface Ratio {
  /** Of the rates; of CPU per unit, the other's to ours, when `by` is `cpu`. Above 1 we are better, either way. */
  readonly value: number;
  readonly by: "rate" | "cpu";
  /** The same by CPU per unit, whatever `by` is. */
  readonly cpu: number;
}

/** Share of a processor from which on a proxy counts as having been the limit itself. */
export const SATURATED = 0.9;

/**
 * How `own` does against `other`. Where the other one was not busy for want of load, its rate is the load generator's and not its own; then it is
 * CPU per unit that is compared, which is the sterner figure.
 */
export function ratioOf(own: Figures, other: Figures): Ratio {
  const cpu = other.cpuMicros / own.cpuMicros;
  return other.busy >= SATURATED ? { value: own.rate / other.rate, by: "rate", cpu } : { value: cpu, by: "cpu", cpu };
}

export interface Comparison {
  readonly what: string;
  readonly result: LoadResult | undefined;
  /** Contender that ours is held against. */
  readonly other: string;
  readonly bar: number;
  /** Default: ours under its own name. */
  readonly own?: string;
}

/** A bar on the rate against another contender of the same row. */
export function againstBar({ what, result, other, bar, own = OWN }: Comparison): Bar {
  const [mine, theirs] = [result?.figures[own], result?.figures[other]];
  const refused = result?.refused[own] ?? result?.refused[other];
  const bare = { what, bar, atLeast: true, other };
  if (mine === undefined || theirs === undefined) return { ...bare, value: undefined, ...(refused && { note: refused }) };
  const { value, by, cpu } = ratioOf(mine, theirs);
  const note = by === "rate" ? `by CPU ${cpu.toFixed(2)}` : `by CPU: ${other} was ${percent(theirs.busy)} busy`;
  return { ...bare, value, note };
}

/** One row's own figures with those of another row under a name of their own, for a bar that holds us against ourselves. */
export function beside(name: string, result: LoadResult | undefined, other: LoadResult | undefined): LoadResult {
  const [own, others] = [result?.figures[OWN], other?.figures[OWN]];
  const refused = { ...pick(OWN, result?.refused[OWN]), ...pick(name, other?.refused[OWN]) };
  return { figures: { ...pick(OWN, own), ...pick(name, others) }, refused };
}

function pick<T>(name: string, value: T | undefined): Readonly<Record<string, T>> {
  return value === undefined ? {} : { [name]: value };
}

export type Verdict = "met" | "MISSED" | "not judged" | "no figure";

export function verdictOf({ value, bar, atLeast, unjudged }: Bar): Verdict {
  if (unjudged !== undefined) return "not judged";
  if (value === undefined || Number.isNaN(value)) return "no figure";
  return (atLeast ? value >= bar : value <= bar) ? "met" : "MISSED";
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** Bars of what is measured beside the rows. */
export function otherBars({ snapshot, propagation, edge }: Results): readonly Bar[] {
  const atMost = (what: string, value: number | undefined, bar: number, unit: string): Bar => ({
    ...{ what, value, bar, unit, atLeast: false },
  });
  const times = snapshot?.["5000"];
  return [
    ...(times === undefined
      ? []
      : [
          atMost("verify + compile of 5,000 routes", times.verifyMs + times.compileMs, 50, "ms"),
          atMost("memory that 5,000 routes hold", times.heldBytes / 1_048_576, 40, "MiB"),
        ]),
    ...(propagation === undefined ? [] : [atMost("commit to enforced, p99", propagation.p99Ms, 100, "ms")]),
    ...(edge === undefined
      ? []
      : [
          edgeRateBar(edge),
          atMost("edge, verify + compile of 5,000 routes, CPU", edge.isolate.cpuMs, 50, "ms"),
          atMost("edge, per isolate with 5,000 routes", edge.isolate.memoryMb, 40, "MiB"),
          atMost("edge, commit to enforced, p99", edge.propagation.widening.p99Ms, 3_000, "ms"),
          atMost("edge, a narrowing commit to enforced, p99", edge.propagation.narrowing.p99Ms, 1_000, "ms"),
        ]),
  ];
}

/** By what both need while they run a slice each; by their turns where nothing else was measured. */
function edgeRateBar({ workers, together }: EdgeFigures): Bar {
  const own = workers[OWN]?.rate;
  const bare = workers[BARE]?.rate;
  const alone = own === undefined || bare === undefined ? undefined : own / bare;
  const shared = together?.[BARE];
  const bar = { what: "edge, requests/s against a bare pass-through Worker", bar: 0.8, atLeast: true };
  if (shared === undefined) return { ...bar, value: alone };
  const note = `in slices, ± ${shared.error.toFixed(2)}${alone === undefined ? "" : `; in turns ${alone.toFixed(2)}`}`;
  return { ...bar, value: shared.ratio, note };
}

const BARE = "pass-through";
