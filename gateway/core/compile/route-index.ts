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
}

export function candidate<R>(order: number, route: R, match: MatchTest | undefined): Candidate<R> {
  return { order, route, match, asks: match === undefined ? "nothing" : asksOf(match) };
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
  /** In order. At the root: those that any path may match. */
  readonly candidates: readonly Candidate<R>[];
  /** By the first character of their labels. */
  readonly children: ReadonlyMap<number, PathNode<R>> | undefined;
}

interface BuildNode<R> {
  label: string;
  candidates: Candidate<R>[];
  children: Map<number, BuildNode<R>> | undefined;
}

/** Shared by all nodes without candidates: it is replaced, never added to. */
const NONE: never[] = [];

/** @param candidates in order */
export function buildPathTree<R>(candidates: readonly Candidate<R>[]): PathNode<R> {
  const root: BuildNode<R> = { label: "", candidates: NONE, children: undefined };
  for (let i = 0; i < candidates.length; i++) insert(root, candidates[i] as Candidate<R>);
  return root;
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

function insert<R>(root: BuildNode<R>, candidate: Candidate<R>): void {
  const node = nodeFor(root, pathStart(candidate.match));
  // A list of one takes room for one; most have no more.
  if (node.candidates.length === 0) node.candidates = [candidate];
  else node.candidates.push(candidate);
}

function nodeFor<R>(root: BuildNode<R>, key: string): BuildNode<R> {
  let node = root;
  let at = 0;
  while (at < key.length) {
    const first = key.charCodeAt(at);
    node.children ??= new Map();
    const child = node.children.get(first);
    if (child === undefined) {
      const leaf: BuildNode<R> = { label: key.slice(at), candidates: NONE, children: undefined };
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
    candidates: NONE,
    children: new Map([[child.label.charCodeAt(length), child]]),
  };
  parent.children?.set(child.label.charCodeAt(0), upper);
  child.label = child.label.slice(length);
  return upper;
}
