import type { Random } from "../ports.ts";

/** One of at least one destination, by weight. A single one costs no throw. */
export function pickDestination<T extends { readonly upTo: number }>(destinations: readonly T[], random: Random): T {
  const first = destinations[0] as T;
  if (destinations.length === 1) return first;
  const thrown = random();
  for (const destination of destinations) if (thrown < destination.upTo) return destination;
  return first;
}
