/** The few statistics that the bench needs: most of them robust against a round in which the machine was busy with something else. */

/** 0 of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Of those that have the figure; undefined when none has. */
export function medianOf<T>(all: readonly T[], figure: (one: T) => number | undefined): number | undefined {
  const values = all.map(figure).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : median(values);
}

/** Nearest rank: the smallest value that at least `share` of all are not above. 0 of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.min(sorted.length, Math.ceil(sorted.length * share)) - 1)] ?? 0;
}

/** How far the values lie apart, as a share of their median: 0.1 is ±5 %. 0 of nothing. */
export function spread(values: readonly number[]): number {
  const middle = median(values);
  return middle === 0 ? 0 : (Math.max(...values) - Math.min(...values)) / middle;
}

export interface Mean {
  readonly mean: number;
  /** Standard error of the mean. */
  readonly error: number;
}

/** For values whose noise is no outlier here and there but all of them. NaN of nothing. */
export function meanOf(values: readonly number[]): Mean {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / Math.max(1, values.length - 1) / values.length) };
}
