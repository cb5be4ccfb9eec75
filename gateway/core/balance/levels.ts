/**
 * How load is spread over levels of priority, as Envoy does it: the first level takes what its healthy endpoints can bear with some to spare, the rest
 * overflows to the next. Pure arithmetic on counts, done when health changes.
 */

/** Healthy endpoints can bear so much more than their share (Envoy's default, in percent): load spills only below 1 / 1.4 = 71 % healthy. */
export const OVERPROVISIONING_PERCENT = 140;
/** Envoy's default. */
export const DEFAULT_PANIC_PERCENT = 50;

export interface LevelCount {
  readonly total: number;
  readonly healthy: number;
}

export interface LevelLoad {
  /** Of 100. All levels together have 100. */
  readonly percent: number;
  /** So few are healthy that health is not looked at. */
  readonly panics: boolean;
}

/** What a part of which `healthy` of `total` are well can bear, of 100. */
export function availability({ total, healthy }: LevelCount): number {
  return total === 0 ? 0 : Math.min(100, Math.floor((OVERPROVISIONING_PERCENT * healthy) / total));
}

/**
 * @param levels at least one
 * @param panicPercent 0: health is always looked at; with nobody healthy the first level then has all the load, and nobody to take it
 */
export function levelLoads(levels: readonly LevelCount[], panicPercent: number): readonly LevelLoad[] {
  const bearable = levels.map(availability);
  const sum = Math.min(
    100,
    bearable.reduce((all, one) => all + one, 0),
  );
  // Where the levels together can bear everything, none of them panics.
  const panics = levels.map(
    ({ total, healthy }) => sum < 100 && panicPercent > 0 && (total === 0 || (100 * healthy) / total < panicPercent),
  );
  if (panics.every(Boolean)) return byCount(levels);
  if (sum === 0) return levels.map((_, i) => ({ percent: i === 0 ? 100 : 0, panics: panics[i] === true }));
  let left = 100;
  const loads = bearable.map((percent) => {
    const share = Math.min(left, Math.floor((percent * 100) / sum));
    left -= share;
    return share;
  });
  // What rounding left over goes to the first that takes any.
  const first = loads.findIndex((percent) => percent > 0);
  return loads.map((percent, i) => ({ percent: i === first ? percent + left : percent, panics: panics[i] === true }));
}

/** Every level panics: each endpoint has the same share. */
function byCount(levels: readonly LevelCount[]): readonly LevelLoad[] {
  const all = levels.reduce((sum, { total }) => sum + total, 0);
  return levels.map(({ total }, i) => ({ percent: all === 0 ? (i === 0 ? 100 : 0) : (100 * total) / all, panics: true }));
}
