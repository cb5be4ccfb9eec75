/**
 * The candidates of a virtual host by path: a radix tree over the literal start of each match's path. Walking it along a request's path
 * meets every candidate that can match, and only those; the lowest order among them that matches is the first match of the list.
 */
import type { MatchTest } from "./match.ts";
import { literalPrefix } from "./string.ts";

/** One way into a route. `order` is its place in the list of all ways of the virtual host. */
export interface Candidate<R> {
  readonly order: number;
  readonly route: R;
  /** Undefined: takes everything. */
  readonly match: MatchTest | undefined;
  /** What is left to be asked where the path begins as `match` wants it: nothing, whether it ends there, or everything. */
  readonly asks: "nothing" | "end" | "everything";
  /** The next one at the same place of the tree. Most places have one: a list for each would be twice as many objects. */
  readonly next: Candidate<R> | undefined;
}

/** One that is in no tree yet. */
export type LooseCandidate<R> = Omit<Candidate<R>, "next"> & { next: LooseCandidate<R> | undefined };

export function candidate<R>(order: number, route: R, match: MatchTest | undefined): LooseCandidate<R> {
  return { order, route, match, asks: match === undefined ? "nothing" : asksOf(match), next: undefined };
}

/** Most matches are of a literal path and no more: having come to their place in the tree decides them, and they need not be looked at. */
function asksOf({ path, method, scheme, authority, headers, query, port }: MatchTest): Candidate<unknown>["asks"] {
  const isPathAlone =
    method === undefined &&
    scheme === undefined &&
    authority === undefined &&
    port === undefined &&
    headers.length + query.length === 0;
  if (!isPathAlone || path === undefined || path.ignoreCase) return "everything";
  return path.kind === "prefix" ? "nothing" : path.kind === "exact" ? "end" : "everything";
}

export interface PathNode<R> {
  /** Characters between the parent and here; "" at the root. */
  readonly label: string;
  /** The first of those here, which are in order. At the root: of those that any path may match. */
  readonly first: Candidate<R> | undefined;
  /** By the first character of their labels. */
  readonly children: ReadonlyMap<number, PathNode<R>> | undefined;
}

interface BuildNode<R> {
  label: string;
  first: LooseCandidate<R> | undefined;
  children: Map<number, BuildNode<R>> | undefined;
}

/** @param candidates in order, each in this tree only */
export function buildPathTree<R>(candidates: readonly LooseCandidate<R>[]): PathNode<R> {
  const root: BuildNode<R> = { label: "", first: undefined, children: undefined };
  // From the last to the first, so that each is put in front of those that come after it.
  for (let i = candidates.length - 1; i >= 0; i--) insert(root, candidates[i] as LooseCandidate<R>);
  return root;
}

/** All candidates of a tree, in order. */
export function candidatesOf<R>(root: PathNode<R>): readonly Candidate<R>[] {
  const found: Candidate<R>[] = [];
  const collect = ({ first, children }: PathNode<R>): void => {
    for (let at = first; at !== undefined; at = at.next) found.push(at);
    for (const child of children?.values() ?? []) collect(child);
  };
  collect(root);
  return found.sort((a, b) => a.order - b.order);
}

/** What every path that this match takes starts with. */
function pathStart(match: MatchTest | undefined): string {
  const path = match?.path;
  if (path === undefined || path.ignoreCase) return "";
  switch (path.kind) {
    case "exact":
    case "prefix":
    case "segmentPrefix":
      return path.value;
    case "regex":
      return literalPrefix(path.value);
    case "suffix":
    case "present":
      return "";
  }
}

function insert<R>(root: BuildNode<R>, candidate: LooseCandidate<R>): void {
  const node = nodeFor(root, pathStart(candidate.match));
  candidate.next = node.first;
  node.first = candidate;
}

function nodeFor<R>(root: BuildNode<R>, key: string): BuildNode<R> {
  let node = root;
  let at = 0;
  while (at < key.length) {
    const first = key.charCodeAt(at);
    node.children ??= new Map();
    const child = node.children.get(first);
    if (child === undefined) {
      const leaf: BuildNode<R> = { label: key.slice(at), first: undefined, children: undefined };
      node.children.set(first, leaf);
      return leaf;
    }
    const shared = sharedLength(child.label, key, at);
    at += shared;
    node = shared === child.label.length ? child : split(node, child, shared);
  }
  return node;
}

function sharedLength(label: string, key: string, at: number): number {
  let shared = 1;
  while (shared < label.length && at + shared < key.length && label.charCodeAt(shared) === key.charCodeAt(at + shared)) shared++;
  return shared;
}

function split<R>(parent: BuildNode<R>, child: BuildNode<R>, length: number): BuildNode<R> {
  const upper: BuildNode<R> = {
    label: child.label.slice(0, length),
    first: undefined,
    children: new Map([[child.label.charCodeAt(length), child]]),
  };
  parent.children?.set(child.label.charCodeAt(0), upper);
  child.label = child.label.slice(length);
  return upper;
}
