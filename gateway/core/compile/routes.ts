/** Route tables: virtual hosts by name, routes behind a path index, actions with everything that is the same for all requests worked out. */
import { NO_BODY } from "../http/message.ts";
import type {
  CorsPolicy,
  DirectResponseAction,
  ForwardAction,
  Mirror,
  RetryPolicy,
  Rewrite,
  Route,
  RouteAction,
  RouteMatch,
  RouteTable,
  VirtualHost,
  WeightedDestination,
} from "../ir/index.ts";
import type { HostTable } from "../match/host.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import { repeated } from "../repeated.ts";
import { type Issue, unreachable } from "../result.ts";
import { compileRetry } from "../retry/policy.ts";
import type { ClusterMap } from "./clusters.ts";
import { compileHeaderOps, type HeaderEdit, joinEdits } from "./headers.ts";
import { type Made, within } from "./made.ts";
import { compileMatch } from "./match.ts";
import { buildPathTree, candidate, type LooseCandidate } from "./route-index.ts";
import { compileString, type StringCompiler } from "./string.ts";
import type {
  CompiledAction,
  CompiledCors,
  CompiledDestination,
  CompiledDirect,
  CompiledForward,
  CompiledMirror,
  CompiledRetry,
  CompiledRewrite,
  CompiledRoute,
  CompiledRouteTable,
  CompiledVirtualHost,
} from "./tables.ts";

/** What compiling routes looks up and where it reports. */
export interface RouteCompiler extends StringCompiler {
  readonly clusters: ClusterMap;
  readonly quotas: ReadonlyMap<string, CompiledQuota>;
}

export function compileRouteTable(table: RouteTable, path: string, to: RouteCompiler): CompiledRouteTable {
  const quotas = withQuotas([], table.quotas, path, to);
  const hosts = new HostNames<CompiledVirtualHost>();
  for (let i = 0; i < table.virtualHosts.length; i++) {
    const host = table.virtualHosts[i] as VirtualHost;
    const hostPath = `${path}.virtualHosts[${i}]`;
    const compiled = compileVirtualHost(host, quotas, hostPath, to);
    for (let j = 0; j < host.domains.length; j++) {
      hosts.add(host.domains[j] as string, compiled, `${hostPath}.domains[${j}]`, to.issues);
    }
  }
  return { source: table, quotas, hosts };
}

/** Names of the forms `a.b`, `*.b` and `*`, each once. */
export class HostNames<T> implements HostTable<T> {
  readonly exact = new Map<string, T>();
  readonly suffix = new Map<string, T>();
  any: T | undefined;

  add(name: string, value: T, path: string, issues: Issue[]): void {
    const known = name === "*" ? this.any : name.startsWith("*.") ? this.suffix.get(name.slice(1)) : this.exact.get(name);
    if (known !== undefined) issues.push({ path, problem: `${name} is taken already; a name may stand once` });
    else if (name.includes("*", name.startsWith("*.") || name === "*" ? 1 : 0)) {
      issues.push({ path, problem: `${name} has a wildcard elsewhere than as its first label` });
    } else if (name !== name.toLowerCase())
      issues.push({ path, problem: `${name} has upper-case letters; hosts are lower case` });
    else if (name === "*") this.any = value;
    else if (name.startsWith("*.")) this.suffix.set(name.slice(1), value);
    else this.exact.set(name, value);
  }
}

function compileVirtualHost(
  host: VirtualHost,
  outer: readonly CompiledQuota[],
  path: string,
  to: RouteCompiler,
): CompiledVirtualHost {
  const quotas = withQuotas(outer, host.quotas, path, to);
  const candidates: LooseCandidate<CompiledRoute>[] = [];
  const routes = host.routes.map((route, i) => {
    const from = to.issues.length;
    const compiled = compileRoute(route, quotas, to);
    addCandidates(route.matches, compiled, candidates, to);
    if (to.issues.length > from) within(to.issues, from, `${path}.routes[${i}](${route.id})`);
    return compiled;
  });
  for (const i of repeated(host.routes, (route) => route.id)) {
    const { id } = host.routes[i] as Route;
    to.issues.push({
      path: `${path}.routes[${i}](${id})`,
      problem: `a second route ${id}; ids are unique within a virtual host`,
    });
  }
  return { source: host, quotas, routes, index: buildPathTree(candidates) };
}

function addCandidates(
  matches: readonly RouteMatch[],
  route: CompiledRoute,
  candidates: LooseCandidate<CompiledRoute>[],
  to: RouteCompiler,
): void {
  if (matches.length === 0) candidates.push(candidate(candidates.length, route, undefined));
  for (let i = 0; i < matches.length; i++) {
    const from = to.issues.length;
    const match = compileMatch(matches[i] as RouteMatch, "", to);
    if (to.issues.length > from) within(to.issues, from, `.matches[${i}]`);
    candidates.push(candidate(candidates.length, route, match));
  }
}

/** Paths of issues start at the route. */
function compileRoute(route: Route, outer: readonly CompiledQuota[], to: RouteCompiler): CompiledRoute {
  const requestEdit = compileHeaderOps(route.requestHeaders, "", "requestHeaders", to);
  const responseEdit = compileHeaderOps(route.responseHeaders, "", "responseHeaders", to);
  return {
    source: route,
    quotas: withQuotas(outer, route.quotas, "", to),
    action: compileAction(route.action, requestEdit, responseEdit, to),
    requestEdit,
    responseEdit,
    cors: route.cors === undefined ? undefined : compileCors(route.cors, ".cors", to),
    fault: checkFault(route.fault, to.issues),
  };
}

function checkFault(fault: Route["fault"], issues: Issue[]): Route["fault"] {
  if (fault?.abort !== undefined) checkStatus(fault.abort.status, ".fault.abort.status", issues);
  return fault;
}

/** Of a final response (RFC 9110 15): informational ones go by without ending anything. */
function checkStatus(status: number, path: string, issues: Issue[]): void {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    issues.push({ path, problem: `${status} is no status of a final response; give one from 200 to 599` });
  }
}

const TARGET_PART = /^[\x21-\x7e\x80-\xff]*$/;
const AUTHORITY = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/;

/** Written into request lines and Location as it is: a space or a line break would begin something else there. */
function checkTarget(part: string | undefined, path: string, issues: Issue[]): void {
  if (part !== undefined && !TARGET_PART.test(part)) {
    issues.push({ path, problem: `${JSON.stringify(part)} has white space or control characters; percent-encode them` });
  }
}

function checkAuthority(authority: string | undefined, path: string, issues: Issue[]): void {
  if (authority !== undefined && !AUTHORITY.test(authority)) {
    issues.push({ path, problem: `${JSON.stringify(authority)} is no host[:port] (RFC 3986 3.2)` });
  }
}

/** `outer` and those named here, none twice. */
function withQuotas(
  outer: readonly CompiledQuota[],
  ids: readonly string[],
  path: string,
  to: RouteCompiler,
): readonly CompiledQuota[] {
  if (ids.length === 0) return outer;
  const all = new Set(outer);
  for (const [i, id] of ids.entries()) {
    const quota = to.quotas.get(id);
    if (quota === undefined)
      to.issues.push({ path: `${path}.quotas[${i}]`, problem: `there is no quota ${id} in this snapshot` });
    else all.add(quota);
  }
  return [...all];
}

function compileAction(
  action: RouteAction,
  requestEdit: HeaderEdit | undefined,
  responseEdit: HeaderEdit | undefined,
  to: RouteCompiler,
): CompiledAction {
  switch (action.kind) {
    case "forward":
      return forwardOf(action, requestEdit, responseEdit, to);
    case "redirect":
      checkAuthority(action.authority, ".action.authority", to.issues);
      checkTarget(action.path, ".action.path", to.issues);
      checkTarget(action.prefix, ".action.prefix", to.issues);
      return { kind: "redirect", source: action };
    case "direct":
      return compileDirect(action, ".action", to.issues);
    default:
      return unreachable(action);
  }
}

function retryOf(policy: RetryPolicy, { retries }: Made): CompiledRetry | undefined {
  const known = retries.get(policy);
  if (known !== undefined) return known;
  const retry = compileRetry(policy);
  if (retry !== undefined) retries.set(policy, retry);
  return retry;
}

/** Routes to the same places share what becomes of them, unless a destination's header operations have to be joined with the route's. */
function forwardOf(
  action: ForwardAction,
  requestEdit: HeaderEdit | undefined,
  responseEdit: HeaderEdit | undefined,
  to: RouteCompiler,
): CompiledForward {
  if (action.destinations.some(hasHeaderOps)) return compileForward(action, requestEdit, responseEdit, to);
  const known = to.made.forwards.get(action);
  if (known !== undefined) return known;
  const from = to.issues.length;
  const forward = compileForward(action, undefined, undefined, to);
  if (to.issues.length === from) to.made.forwards.set(action, forward);
  return forward;
}

function hasHeaderOps({ requestHeaders, responseHeaders }: WeightedDestination): boolean {
  return requestHeaders !== undefined || responseHeaders !== undefined;
}

function compileForward(
  action: ForwardAction,
  requestEdit: HeaderEdit | undefined,
  responseEdit: HeaderEdit | undefined,
  to: RouteCompiler,
): CompiledForward {
  const destinations = compileDestinations(action, requestEdit, responseEdit, to);
  const mirrors = action.mirrors.length === 0 ? NO_MIRRORS : compileMirrors(action.mirrors, to.clusters);
  return {
    kind: "forward",
    destinations,
    rewrite: compileRewrite(action.rewrite, to),
    timeoutMs: action.timeoutMs,
    retry: retryOf(action.retry, to.made),
    mirrors,
    handsOn: destinations.some(isHandedOn) || mirrors.some(isHandedOn),
  };
}

function isHandedOn({ cluster }: CompiledDestination | CompiledMirror): boolean {
  return cluster?.source.via !== undefined;
}

function compileMirrors(mirrors: readonly Mirror[], clusters: ClusterMap): readonly CompiledMirror[] {
  return mirrors.flatMap((mirror): CompiledMirror[] => {
    // A mirror nobody can reach is no reason to refuse anything: the copy is lost, as any copy may be.
    const cluster = clusters.get(mirror.cluster);
    return cluster === undefined || mirror.percent <= 0 ? [] : [{ cluster, percent: mirror.percent }];
  });
}

const NO_MIRRORS: readonly CompiledMirror[] = [];

function compileDestinations(
  action: ForwardAction,
  requestEdit: HeaderEdit | undefined,
  responseEdit: HeaderEdit | undefined,
  to: RouteCompiler,
): readonly CompiledDestination[] {
  const { destinations } = action;
  let total = 0;
  for (let i = 0; i < destinations.length; i++) total += (destinations[i] as WeightedDestination).weight;
  if (!(total > 0)) {
    to.issues.push({
      path: ".action.destinations",
      problem: "no destination has a weight; give at least one a positive weight",
    });
  }
  // Thousands of times per snapshot: a closure for each, with its variables in boxes, would weigh as much as what is made.
  const compiled = new Array<CompiledDestination>(destinations.length);
  const last = destinations.length - 1;
  let sum = 0;
  for (let i = 0; i <= last; i++) {
    const destination = destinations[i] as WeightedDestination;
    const from = to.issues.length;
    sum += destination.weight;
    checkAuthority(destination.authority, ".authority", to.issues);
    const request = compileHeaderOps(destination.requestHeaders, "", "requestHeaders", to);
    const response = compileHeaderOps(destination.responseHeaders, "", "responseHeaders", to);
    if (to.issues.length > from) within(to.issues, from, `.action.destinations[${i}]`);
    compiled[i] = {
      name: destination.cluster,
      cluster: to.clusters.get(destination.cluster),
      upTo: i === last ? 1 : sum / total,
      authority: action.rewrite?.authority ?? destination.authority,
      requestEdit: joinEdits(request, requestEdit),
      responseEdit: joinEdits(response, responseEdit),
    };
  }
  return compiled;
}

function compileRewrite(rewrite: Rewrite | undefined, to: RouteCompiler): CompiledRewrite | undefined {
  if (rewrite === undefined) return undefined;
  const regex = rewrite.pathRegex;
  checkAuthority(rewrite.authority, ".action.rewrite.authority", to.issues);
  checkTarget(rewrite.path, ".action.rewrite.path", to.issues);
  checkTarget(regex?.substitution, ".action.rewrite.pathRegex.substitution", to.issues);
  if (rewrite.path === undefined && regex === undefined) return undefined;
  const pattern = regex === undefined ? undefined : to.regexes.get(regex.match, ".action.rewrite.pathRegex.match", to.issues);
  return {
    path: rewrite.path,
    regex:
      regex === undefined || pattern === undefined ? undefined : { pattern, substitution: ecmaSubstitution(regex.substitution) },
  };
}

/** RE2's `\\1` in the notation of the engine's replacer, where `$` is special instead. */
function ecmaSubstitution(substitution: string): string {
  return substitution.replace(/\$|\\([0-9\\])/g, (whole, group: string | undefined) =>
    whole === "$" ? "$$" : group === "\\" ? "\\" : group === "0" ? "$&" : `$${group}`,
  );
}

function compileDirect(action: DirectResponseAction, path: string, issues: Issue[]): CompiledDirect {
  checkStatus(action.status, `${path}.status`, issues);
  const body = directBody(action, path, issues);
  const bodiless = action.status === 204 || action.status === 304;
  if (bodiless && body.length > 0)
    issues.push({ path: `${path}.body`, problem: `a response with status ${action.status} has no body (RFC 9110 6.4.1)` });
  if (bodiless || body.length === 0) {
    return {
      kind: "direct",
      status: action.status,
      fields: [],
      body: "",
      framing: bodiless ? NO_BODY : { kind: "length", bytes: 0 },
    };
  }
  return {
    kind: "direct",
    status: action.status,
    fields: [
      "content-type",
      typeof action.body === "object" && "text" in action.body ? "text/plain; charset=utf-8" : "application/octet-stream",
    ],
    body,
    framing: { kind: "length", bytes: body.length },
  };
}

function directBody(action: DirectResponseAction, path: string, issues: Issue[]): Uint8Array {
  if (action.body === undefined) return new Uint8Array(0);
  if ("text" in action.body) return new TextEncoder().encode(action.body.text);
  try {
    return Uint8Array.from(atob(action.body.base64), (char) => char.charCodeAt(0));
  } catch {
    issues.push({ path: `${path}.body.base64`, problem: "not base64 (RFC 4648 4)" });
    return new Uint8Array(0);
  }
}

function compileCors(cors: CorsPolicy, path: string, to: RouteCompiler): CompiledCors {
  const credentials = cors.allowCredentials ? ["access-control-allow-credentials", "true"] : [];
  const listed = (name: string, values: readonly string[]) => (values.length === 0 ? [] : [name, values.join(", ")]);
  return {
    anyOrigin: cors.allowOrigins.some((origin) => origin.kind === "exact" && origin.value === "*"),
    origins: cors.allowOrigins.map((origin, i) => compileString(origin, false, path, `allowOrigins[${i}]`, to)),
    unmatchedPreflights: cors.unmatchedPreflights,
    preflight: [
      ...credentials,
      ...listed("access-control-allow-methods", cors.allowMethods),
      ...listed("access-control-allow-headers", cors.allowHeaders),
      ...(cors.maxAgeS === undefined ? [] : ["access-control-max-age", String(cors.maxAgeS)]),
    ],
    actual: [...credentials, ...listed("access-control-expose-headers", cors.exposeHeaders)],
  };
}
