import type { Warmup } from "../ir/index.ts";

/** The share of its weight that an endpoint has which has been warming for so long: Envoy's slow start, in (0, 1]. */
export function warmShare({ durationMs, minimumPercent, aggression }: Warmup, forMs: number): number {
  const grown = Math.max(0, forMs / durationMs) ** (1 / aggression);
  return Math.min(1, Math.max(minimumPercent / 100, SMALLEST_SHARE, grown));
}

/** A share of nothing would never be asked, and nothing learned about it. */
const SMALLEST_SHARE = 0.01;
