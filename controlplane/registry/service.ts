import type { ObjectRef, SourceLocation } from "../config/resource.ts";

/** A name that something can be sent to, whatever source it was learned from. */
export interface Service {
  /** Lower case; exact or `*.suffix`. */
  readonly host: string;
  readonly namespace: string;
  /** Ascending by number. */
  readonly ports: readonly ServicePort[];
  /** static: endpoints are addresses. dns: endpoints are names that the gateway resolves; dns-round-robin: each to one address. none: wherever the client says; egress only. */
  readonly resolution: Resolution;
  readonly location: "mesh-external" | "mesh-internal";
  readonly exportTo: Visibility;
  /** One has to be in the endpoints' certificates. Empty: the host's own name has to. */
  readonly subjectAltNames: readonly string[];
  /** Objects that declare it or its endpoints, the one with precedence first. */
  readonly declarations: readonly Declaration[];
}

export type Resolution = "static" | "dns" | "dns-round-robin" | "none";

export interface ServicePort {
  readonly number: number;
  readonly name: string;
  readonly protocol: string;
  readonly endpoints: readonly ServiceEndpoint[];
}

export interface ServiceEndpoint {
  /** Canonical IP literal, or a host name in lower case. */
  readonly address: string;
  readonly port: number;
  readonly labels: Readonly<Record<string, string>>;
  /** `region/zone/subzone`. */
  readonly locality?: string;
  /** Positive. */
  readonly weight: number;
}

/** Namespaces that may use a name. */
export type Visibility = "all" | ReadonlySet<string>;

export interface Declaration {
  readonly ref: ObjectRef;
  readonly source: SourceLocation;
  readonly createdMs: number;
}

/** Reads `exportTo`: nothing and `*` mean everybody, `.` the own namespace, `~` nobody. */
export function visibility(exportTo: readonly string[] | undefined, ownNamespace: string): Visibility {
  if (exportTo === undefined || exportTo.length === 0 || exportTo.includes("*")) return "all";
  return new Set(exportTo.filter((name) => name !== "~").map((name) => (name === "." ? ownNamespace : name)));
}

export function visibleIn(exportTo: Visibility, namespace: string): boolean {
  return exportTo === "all" || exportTo.has(namespace);
}

/** Precedence of objects: creation time, then name, then namespace. */
export function comparePrecedence(a: Precedence, b: Precedence): number {
  return a.createdMs - b.createdMs || compareText(a.name, b.name) || compareText(a.namespace, b.namespace);
}

export interface Precedence {
  readonly createdMs: number;
  readonly name: string;
  readonly namespace: string;
}

/** By code units, so that the order is the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
