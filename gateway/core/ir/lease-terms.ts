/**
 * What leases of a global limit look like, and which bound they keep. A lease is a number of units that a holder may spend by itself until it
 * expires, so what is spent in a window may have been granted up to a lease's life before it. With L the amount of a limit and P its window:
 *
 * | window   | what is proven in any span |
 * |----------|----------------------------|
 * | rolling  | a grant counts until its end + P, against L * (1 + p): never more than that in any P |
 * | calendar | a grant ends with its window: never more than L in any window, whatever the accuracy |
 * | smooth   | burst + L * p + rate * span: what leases may carry over beyond L * p is taken out of the burst |
 *
 * p is 0 for strict, the percentage for bounded and 1 for bestEffort.
 */
import type { QuotaAccuracy, QuotaLimit, QuotaPolicy } from "./policy.ts";

/** A lease has to outlive the way to the bank and back. */
export const MIN_LEASE_MS = 250;
/** What a crashed holder had is lost for this long, so leases of long windows live no longer. */
export const MAX_LEASE_MS = 60_000;
/** Shorter windows would be over before leases are. */
export const MIN_GLOBAL_WINDOW_MS = 1000;

/** Share of its window that a strict lease lives: as much later does quota come back after a holder has crashed. */
const STRICT_SHARE = 1 / 16;
/** Share of its window that a lease lives at most, however inaccurate it may be. */
const LOOSE_SHARE = 1 / 4;
/** Share of the time in which an empty bucket fills that a lease lives. */
const BUCKET_SHARE = 1 / 8;
/** More than this share of the burst is not given up for leases. */
const MAX_RESERVE = 1 / 2;

export interface LeaseTerms {
  /** How long a lease lives, counted by the bank from the grant and by its holder from the asking. */
  readonly leaseMs: number;
  /** Units beyond the amount that may be admitted in a window; whole. */
  readonly excess: number;
  /** Most units that can be granted at once: the burst less what leases may carry over (smooth), or the amount. */
  readonly capacity: number;
}

/** @param accuracy undefined: strict */
export function leaseTerms(limit: QuotaLimit, accuracy: QuotaAccuracy | undefined): LeaseTerms {
  const share = shareOver(accuracy);
  const excess = Math.floor(limit.amount * share);
  if (limit.window === "smooth") return smoothTerms(limit, share, excess);
  const ofWindow = limit.window === "calendar" ? STRICT_SHARE : Math.min(LOOSE_SHARE, Math.max(STRICT_SHARE, share));
  const exact = limit.window === "calendar" ? 0 : excess;
  return { leaseMs: clampLease(limit.perMs * ofWindow), excess: exact, capacity: limit.amount };
}

function smoothTerms(limit: QuotaLimit, share: number, excess: number): LeaseTerms {
  const burst = limit.amount === 0 ? 0 : (limit.burst ?? limit.amount);
  const perMs = limit.amount / limit.perMs;
  const filledMs = limit.amount === 0 ? 0 : (burst * limit.perMs) / limit.amount;
  const leaseMs = clampLease(Math.max(filledMs * BUCKET_SHARE, Math.min(share, LOOSE_SHARE) * limit.perMs));
  const reserve = Math.max(0, Math.ceil(perMs * leaseMs) - excess);
  return { leaseMs, excess, capacity: Math.max(0, burst - reserve) };
}

/** Why a limit cannot be kept out of leases, and what to write instead; undefined: it can. */
export function leaseProblem(
  limit: QuotaLimit,
  unit: QuotaPolicy["unit"],
  accuracy: QuotaAccuracy | undefined,
): { readonly field: "unit" | "per" | "burst"; readonly problem: string } | undefined {
  if (unit === "concurrent") {
    const problem = "requests in flight cannot be counted out of leases; write scope: local";
    return { field: "unit", problem };
  }
  if (limit.perMs < MIN_GLOBAL_WINDOW_MS) {
    const problem = `a global window has at least ${MIN_GLOBAL_WINDOW_MS} ms, because leases have to outlive the way to the bank; write per: 1s, or scope: local`;
    return { field: "per", problem };
  }
  if (limit.window !== "smooth" || limit.amount === 0) return undefined;
  const burst = limit.burst ?? limit.amount;
  const { capacity } = leaseTerms(limit, accuracy);
  if (burst - capacity <= burst * MAX_RESERVE) return undefined;
  const least = leastBurst(limit, accuracy);
  const problem =
    `a burst of ${burst} refills before a lease of ${MIN_LEASE_MS} ms has ended, so the rate cannot be kept; ` +
    `write burst: ${least} or more, window: rolling, or accuracy: bestEffort`;
  return { field: "burst", problem };
}

/** The smallest burst of which enough is left. */
function leastBurst(limit: QuotaLimit, accuracy: QuotaAccuracy | undefined): number {
  const carried = Math.ceil((limit.amount / limit.perMs) * MIN_LEASE_MS) - Math.floor(limit.amount * shareOver(accuracy));
  return Math.max(1, Math.ceil(carried / MAX_RESERVE));
}

function shareOver(accuracy: QuotaAccuracy | undefined): number {
  switch (accuracy?.kind) {
    case undefined:
    case "strict":
      return 0;
    case "bounded":
      return Math.min(1, accuracy.percent / 100);
    case "bestEffort":
      return 1;
  }
}

function clampLease(ms: number): number {
  return Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, Math.floor(ms)));
}
