import type { Candidate, PathNode } from "../compile/route-index.ts";
import { failedCondition, type RequestView } from "./request.ts";

/** The first candidate in list order whose conditions all hold: the same answer as trying every one in turn. */
export function findRoute<R>(root: PathNode<R>, request: RequestView): Candidate<R> | undefined {
  const path = request.path;
  let at = 0;
  let best = firstMatching(root.first, request, at, undefined);
  let children = root.children;
  while (children !== undefined) {
    const child = children.get(path.charCodeAt(at));
    if (child === undefined || !path.startsWith(child.label, at)) break;
    at += child.label.length;
    best = firstMatching(child.first, request, at, best);
    children = child.children;
  }
  return best;
}

function firstMatching<R>(
  first: Candidate<R> | undefined,
  request: RequestView,
  at: number,
  best: Candidate<R> | undefined,
): Candidate<R> | undefined {
  for (let candidate = first; candidate !== undefined; candidate = candidate.next) {
    if (best !== undefined && candidate.order > best.order) return best;
    if (takes(candidate, request, at)) return candidate;
  }
  return best;
}

/** @param at where the path has come to in the tree */
function takes({ asks, match }: Candidate<unknown>, request: RequestView, at: number): boolean {
  if (asks === "nothing") return true;
  if (asks === "end") return at === request.path.length;
  return match === undefined || failedCondition(match, request) === undefined;
}
