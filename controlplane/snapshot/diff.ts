/** What differs between two snapshots, resource by resource. */
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import { canonicalJson } from "./canonical.ts";

export interface SnapshotChange {
  readonly change: "added" | "removed" | "changed";
  readonly kind:
    | "settings"
    | "listener"
    | "routeTable"
    | "virtualHost"
    | "route"
    | "cluster"
    | "endpoints"
    | "quota"
    | "egress"
    | "egressPolicy";
  /** The resource's name; a route is `<table>/<virtual host>/<route id>`. */
  readonly name: string;
}

/** Sorted by kind and name; empty: the same. A virtual host that only differs in its routes is told by these. */
export function diffSnapshots(before: Snapshot, after: Snapshot): readonly SnapshotChange[] {
  const old = resources(before);
  const now = resources(after);
  const changes: SnapshotChange[] = [];
  for (const [key, resource] of now) {
    const held = old.get(key);
    if (held === undefined) changes.push({ change: "added", kind: resource.kind, name: resource.name });
    else if (held.json !== resource.json) changes.push({ change: "changed", kind: resource.kind, name: resource.name });
  }
  for (const [key, { kind, name }] of old) if (!now.has(key)) changes.push({ change: "removed", kind, name });
  return changes.sort((a, b) => compare(a.kind, b.kind) || compare(a.name, b.name));
}

interface Resource {
  readonly kind: SnapshotChange["kind"];
  readonly name: string;
  readonly json: string;
}

function resources(snapshot: Snapshot): ReadonlyMap<string, Resource> {
  const all = new Map<string, Resource>();
  const add = (kind: Resource["kind"], name: string, value: unknown) =>
    all.set(`${kind} ${name}`, { kind, name, json: canonicalJson(value) });
  add("settings", "settings", snapshot.settings);
  for (const listener of snapshot.listeners) add("listener", listener.name, listener);
  for (const cluster of snapshot.clusters) add("cluster", cluster.name, cluster);
  for (const endpoints of snapshot.endpoints) add("endpoints", endpoints.cluster, endpoints);
  for (const quota of snapshot.quotas) add("quota", quota.id, quota);
  for (const { virtualHosts, ...table } of snapshot.routeTables) {
    add("routeTable", table.name, table);
    for (const { routes, ...host } of virtualHosts) {
      add("virtualHost", `${table.name}/${host.name}`, { ...host, order: routes.map((route) => route.id) });
      for (const route of routes) add("route", `${table.name}/${host.name}/${route.id}`, route);
    }
  }
  if (snapshot.egress !== undefined) {
    const { policies, ...egress } = snapshot.egress;
    add("egress", "egress", egress);
    for (const policy of policies) add("egressPolicy", policy.id, policy);
  }
  return all;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
