import type { Candidate, PathNode } from "../compile/route-index.ts";
import { failedCondition, type RequestView } from "./request.ts";

/** The first candidate in list order whose conditions all hold: the same answer as trying every one in turn. */
export function findRoute<R>(root: PathNode<R>, request: RequestView): Candidate<R> | undefined {
  const path = request.path;
  let best = firstMatching(root.candidates, request, undefined);
  let at = 0;
  let children = root.children;
  while (children !== undefined) {
    const child = children.get(path.charCodeAt(at));
    if (child === undefined || !path.startsWith(child.label, at)) break;
    at += child.label.length;
    best = firstMatching(child.candidates, request, best);
    children = child.children;
  }
  return best;
}

function firstMatching<R>(
  candidates: readonly Candidate<R>[],
  request: RequestView,
  best: Candidate<R> | undefined,
): Candidate<R> | undefined {
  for (const candidate of candidates) {
    if (best !== undefined && candidate.order > best.order) return best;
    if (candidate.match === undefined || failedCondition(candidate.match, request) === undefined) return candidate;
  }
  return best;
}
