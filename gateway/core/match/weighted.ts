import type { CompiledDestination } from "../compile/tables.ts";
import type { Random } from "../ports.ts";

/** One of at least one destination, by weight. A single one costs no throw. */
export function pickDestination(destinations: readonly CompiledDestination[], random: Random): CompiledDestination {
  const first = destinations[0] as CompiledDestination;
  if (destinations.length === 1) return first;
  const thrown = random();
  for (const destination of destinations) if (thrown < destination.upTo) return destination;
  return first;
}
