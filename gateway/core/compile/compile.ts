/**
 * IR → tables, once per snapshot. Either every part compiles, or nothing is returned but the issues: what was in force stays in force.
 */
import type { Listener, Snapshot, SnapshotVersion } from "../ir/index.ts";
import { failedCondition } from "../match/request.ts";
import { type CompiledQuota, type CompileQuotaOptions, compileQuota, type QuotaMeter } from "../quota/plan.ts";
import { fail, type Issue, ok, type Result } from "../result.ts";
import { type ClusterMap, type ClusterOptions, compileClusters } from "./clusters.ts";
import { compileConnections } from "./connections.ts";
import { nothingMade } from "./made.ts";
import { compileMatch } from "./match.ts";
import { compileRouteTable, HostNames, type RouteCompiler } from "./routes.ts";
import { RegexCache, type StringCompiler } from "./string.ts";
import type { CompiledListener, CompiledRouteTable, CompiledServer, Tables } from "./tables.ts";

/** What the runtime adds to a compilation. */
export interface CompileOptions extends ClusterOptions {
  /** Where the outcomes of a quota are counted. */
  readonly quotaMeter?: (id: string) => QuotaMeter;
  /** Threads that share one set of counters, and the limits of clusters. Default 1. */
  readonly threads?: number;
}

/**
 * @param previous the tables in force: their endpoints (with counts and connection pools) and regexes are taken over by name.
 * Nothing in them is changed, so a trial compilation may be thrown away.
 */
export function compile(
  snapshot: Snapshot,
  version: SnapshotVersion,
  previous: Tables | undefined,
  options: CompileOptions = {},
): Result<Tables> {
  const issues: Issue[] = [];
  const regexes = new RegexCache(previous?.regexes);
  const made = nothingMade();
  const strings: StringCompiler = { regexes, made, issues };
  const quotas = compileQuotas(snapshot, options, strings);
  const { clusters, hashTables } = compileClusters(snapshot, quotas, previous, options, issues);
  const to: RouteCompiler = { regexes, made, issues, clusters, quotas };
  const routeTables = new Map<string, CompiledRouteTable>();
  for (const [i, table] of snapshot.routeTables.entries()) {
    if (routeTables.has(table.name))
      issues.push({ path: `routeTables[${i}].name`, problem: `a second route table ${table.name}; names are unique` });
    routeTables.set(table.name, compileRouteTable(table, `routeTables[${i}]`, to));
  }
  const listeners = new Map<string, CompiledListener>();
  for (const [i, listener] of snapshot.listeners.entries()) {
    if (listeners.has(listener.name))
      issues.push({ path: `listeners[${i}].name`, problem: `a second listener ${listener.name}; names are unique` });
    listeners.set(listener.name, compileListener(listener, `listeners[${i}]`, routeTables, clusters, issues));
  }
  if (issues.length > 0) return fail(issues);
  return ok({
    version,
    settings: snapshot.settings,
    listeners,
    routeTables,
    clusters,
    hashTables,
    quotas,
    regexes,
  });
}

function compileQuotas(snapshot: Snapshot, options: CompileOptions, to: StringCompiler): ReadonlyMap<string, CompiledQuota> {
  const compiled = new Map<string, CompiledQuota>();
  const ids = new Set<string>();
  const zones: CompileQuotaOptions["zones"] = new Map();
  for (const [i, policy] of snapshot.quotas.entries()) {
    const path = `quotas[${i}](${policy.id})`;
    if (ids.has(policy.id)) to.issues.push({ path, problem: `a second quota ${policy.id}; ids are unique` });
    ids.add(policy.id);
    const matches = policy.matches.map((match, j) => compileMatch(match, `${path}.matches[${j}]`, to));
    const meter = options.quotaMeter?.(policy.id);
    const result = compileQuota(policy, {
      trustedProxies: snapshot.settings.numTrustedProxies,
      zones,
      ...(matches.length === 0
        ? {}
        : { applies: (request) => matches.some((match) => failedCondition(match, request) === undefined) }),
      ...(meter === undefined ? {} : { meter }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
    });
    if (result.ok) compiled.set(policy.id, result.value);
    else for (const issue of result.error) to.issues.push({ path: `${path}.${issue.path}`, problem: issue.problem });
  }
  return compiled;
}

function compileListener(
  source: Listener,
  path: string,
  routeTables: ReadonlyMap<string, CompiledRouteTable>,
  clusters: ClusterMap,
  issues: Issue[],
): CompiledListener {
  const servers = new HostNames<CompiledServer>();
  const isSingle = source.protocol === "http" || source.protocol === "tcp";
  if (isSingle && source.servers.length !== 1) {
    issues.push({
      path: `${path}.servers`,
      problem: `a listener of protocol ${source.protocol} has exactly one server, this one has ${source.servers.length}`,
    });
  }
  for (const [i, server] of source.servers.entries()) {
    const at = `${path}.servers[${i}]`;
    const connections = compileConnections(server, at, clusters, issues);
    const routes = connections === undefined ? routeTables.get(server.routeTable ?? "") : NO_ROUTES;
    if (routes === undefined) {
      issues.push({ path: `${at}.routeTable`, problem: `there is no route table ${server.routeTable} in this snapshot` });
      continue;
    }
    const names = isSingle ? ["*"] : server.serverNames;
    const compiled = { source: server, routes, connections };
    for (const [j, name] of names.entries()) servers.add(name, compiled, `${at}.serverNames[${j}]`, issues);
  }
  return { source, servers };
}

/** Of servers that speak no HTTP. */
const NO_ROUTES: CompiledRouteTable = {
  source: { name: "", virtualHosts: [], quotas: [] },
  quotas: [],
  hosts: { exact: new Map(), suffix: new Map(), any: undefined },
};
