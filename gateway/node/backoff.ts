/** How long to wait before the next try: doubles from `baseMs` to `maxMs`, and is then spread over [half, whole] so that a crowd does not come back at once. */
export function backoffMs(attempt: number, baseMs: number, maxMs: number, random: () => number): number {
  const whole = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return whole / 2 + (whole / 2) * random();
}
