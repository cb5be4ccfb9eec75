/** Several VirtualServices for one host: one list of routes, in which the first match wins. */
import type { Route, RouteMatch } from "../../gateway/core/ir/index.ts";
import { matchesEverything } from "./match.ts";
import { type OwnedRoute, takesEverything } from "./routes.ts";
import type { Status } from "./status.ts";

/**
 * Routes of one VirtualService stay as they are. Of several they are concatenated in the objects' order of precedence, and what takes
 * everything moves to the end. A match that another object has already taken whole is left out, with a conflict on both.
 */
export function mergeRoutes(lists: readonly (readonly OwnedRoute[])[], host: string, status: Status): readonly Route[] {
  const [only, ...others] = lists;
  if (only === undefined) return [];
  if (others.length === 0) return only.map(({ route }) => route);
  const merged: Route[] = [];
  const taken = new Map<string, OwnedRoute>();
  for (const owned of lists.flat()) {
    const specific = takeMatches(owned, taken, host, status);
    if (specific.length > 0) merged.push({ ...owned.route, matches: specific });
  }
  const last = lastRoute(lists.flat(), host, status);
  return last === undefined ? merged : [...merged, last];
}

/** The alternatives that take less than everything and that nobody else has taken. */
function takeMatches(owned: OwnedRoute, taken: Map<string, OwnedRoute>, host: string, status: Status): readonly RouteMatch[] {
  return owned.route.matches.filter((match) => {
    if (matchesEverything(match)) return false;
    const key = matchKey(match);
    const owner = taken.get(key);
    if (owner === undefined || owner.owner === owned.owner) {
      taken.set(key, owner ?? owned);
      return true;
    }
    status.conflict(owner.owner, owner.path, owned.owner, owned.path, `a match for host ${host} (${key})`);
    return false;
  });
}

function matchKey({ name: _name, ...conditions }: RouteMatch): string {
  return JSON.stringify(conditions);
}

/** Of the routes that take everything only the first is ever reached. Where it also has specific matches, those keep their place. */
function lastRoute(routes: readonly OwnedRoute[], host: string, status: Status): Route | undefined {
  const [first, ...hidden] = routes.filter(({ route }) => takesEverything(route));
  if (first === undefined) return undefined;
  for (const { owner, path } of hidden)
    status.conflict(first.owner, first.path, owner, path, `the catch-all route of host ${host}`);
  const { route } = first;
  const matches = route.matches.filter(matchesEverything);
  if (matches.length === route.matches.length) return route;
  return { ...route, id: `${route.id}#catch-all`, matches };
}
