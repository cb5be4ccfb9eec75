/**
 * The egress decision: pure, and the same for a request, for a test and for `explain`.
 *
 * Order: a deny of the root namespace, then denies of namespaces, beat every allow; among allows the first that fits gives its name. What
 * nothing allows is denied, unless a policy in mode `report` or `learn` names the caller: then it passes and is listed. Addresses are judged
 * apart ({@link decideAddresses}) and in every mode.
 *
 * A rule that originates TLS takes requests in the clear and sends them on over TLS. Their port 80, which is what `http://host/` means, is
 * then 443, which is what `https://host/` means; any other port is itself. Lists of ports, in allows and denies, are held against the
 * port that the request goes on to.
 */

import type { EgressInjection } from "../ir/index.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import { formatAddress, type IpAddress, inCidr, parseAddress, unmapped } from "./address.ts";
import { classifyAddress } from "./address-class.ts";
import {
  type AddressOpening,
  type Callers,
  type CompiledDeny,
  type CompiledRule,
  covering,
  type EgressMode,
  type EgressTables,
} from "./compile.ts";
import type { Host } from "./name.ts";
import { pathProblem } from "./path.ts";

/** Who asks, as far as it has been proved. */
export interface EgressCaller {
  /** The peer's address; undefined when it has none (a Unix socket). */
  readonly address: IpAddress | undefined;
  /** Proxy user whose password was verified. */
  readonly user: string | undefined;
  /** A Worker, by the name that its service binding carries. */
  readonly service: string | undefined;
}

export interface EgressRequest {
  readonly host: Host;
  /** That the caller named, or its scheme's. */
  readonly port: number;
  /**
   * `http`: a request that came in the clear. `https`: one for an https URI that the gateway sees, so that TLS to the host is its own to make.
   * `tunnel`: CONNECT.
   */
  readonly kind: "http" | "https" | "tunnel";
  /** Not looked at for tunnels. */
  readonly method: string;
  /** Path without query; not looked at for tunnels. */
  readonly path: string;
}

export type EgressDecision = EgressAllow | EgressDenial;

export interface EgressAllow {
  readonly kind: "allow";
  /** `<namespace>/<policy>#<rule>`; undefined when only mode `report` lets it pass. */
  readonly rule: string | undefined;
  readonly policy: string;
  /** What the tunnel has to carry; `any`: nothing is known about it (mode `report`). */
  readonly protocol: "https" | "http" | "tls" | "tcp" | "any";
  /** Where it goes on to: not the port that was asked for where the rule turns http into https. */
  readonly port: number;
  readonly openings: readonly AddressOpening[];
  readonly quotas: readonly CompiledQuota[];
  /** Credentials to add; none for tunnels. */
  readonly inject: readonly EgressInjection[];
  /** The policy's mode: but in `enforce` a tunnel that carries something else is listed, not cut. */
  readonly mode: EgressMode;
  /** What enforcing would have said; undefined when it would have let this pass too. */
  readonly reported: EgressDenial | undefined;
}

type EgressDenyCode =
  | "denied_by_rule"
  | "no_policy_for_caller"
  | "no_rule"
  | "path_not_canonical"
  | "address_forbidden"
  | "no_address"
  | "quota_exceeded"
  | "quota_unavailable"
  | "denied";

export interface EgressDenial {
  readonly kind: "deny";
  readonly code: EgressDenyCode;
  /** The rule or policy that decided, if one did. */
  readonly rule: string | undefined;
  /** One sentence for people; ASCII. */
  readonly reason: string;
  /** A valid proxy credential could lead to another answer. */
  readonly credentialsMayHelp: boolean;
}

export function decide(tables: EgressTables, caller: EgressCaller, request: EgressRequest): EgressDecision {
  const search = findRules(tables, caller, request);
  const port = search.allowed === undefined ? request.port : portUnder(search.allowed, request);
  const denied = firstDeny(tables, caller, request.host, port);
  if (denied?.mode === "enforce") return deniedBy(denied);
  const listed = denied === undefined ? undefined : deniedBy(denied);
  if (search.allowed !== undefined) return allowedBy(search.allowed, port, search.openings, listed);
  const denial = notAllowed(tables, caller, request, search);
  const reporting = tables.reporting.find((policy) => isNamed(policy.callers, caller));
  if (reporting === undefined) return denial;
  return {
    kind: "allow",
    rule: undefined,
    policy: reporting.id,
    protocol: request.kind === "tunnel" ? "any" : request.kind,
    port,
    openings: NO_OPENINGS,
    quotas: NO_QUOTAS,
    inject: NO_INJECTIONS,
    mode: reporting.mode,
    reported: listed ?? denial,
  };
}

const NO_OPENINGS: readonly AddressOpening[] = [];
const NO_QUOTAS: readonly CompiledQuota[] = [];
const NO_INJECTIONS: readonly EgressInjection[] = [];

/** Ports that `http://host/` and `https://host/` mean (RFC 9110 4.2). */
export const DEFAULT_PORT = { http: 80, https: 443 } as const;

function portUnder(rule: CompiledRule, request: EgressRequest): number {
  const turned = rule.originates && request.kind === "http" && request.port === DEFAULT_PORT.http;
  return turned ? DEFAULT_PORT.https : request.port;
}

/** True when any of the callers' proofs fits. */
function isNamed(callers: Callers, caller: EgressCaller): boolean {
  if (caller.user !== undefined && callers.users.has(caller.user)) return true;
  if (caller.service !== undefined && callers.services.has(caller.service)) return true;
  const { address } = caller;
  return address !== undefined && callers.blocks.some((block) => inCidr(block, address));
}

/** The caller as a connection shows it: an IPv4 address that a dual-stack socket reports as mapped is IPv4. */
export function callerAt(peerAddress: string, user: string | undefined, service?: string): EgressCaller {
  const address = parseAddress(peerAddress);
  return { address: address === undefined ? undefined : unmapped(address), user, service };
}

/** An enforced deny before one that only reports; a floor before a namespace; then as written. */
function firstDeny(tables: EgressTables, caller: EgressCaller, host: Host, port: number): CompiledDeny | undefined {
  let best: CompiledDeny | undefined;
  for (const entries of covering(tables.deny, host)) {
    for (const entry of entries) {
      if (entry.ports !== undefined && !entry.ports.has(port)) continue;
      if (entry.callers !== undefined && !isNamed(entry.callers, caller)) continue;
      if (best === undefined || denyRank(entry) < denyRank(best)) best = entry;
    }
  }
  return best;
}

function denyRank(entry: CompiledDeny): number {
  return (entry.mode === "enforce" ? 0 : 2) + (entry.callers === undefined ? 0 : 1);
}

function deniedBy(entry: CompiledDeny): EgressDenial {
  const reason = entry.reason === "" ? "this host is denied" : entry.reason;
  return { kind: "deny", code: "denied_by_rule", rule: entry.id, reason, credentialsMayHelp: false };
}

interface RuleSearch {
  allowed: CompiledRule | undefined;
  /** Of every rule that fits, because each opens addresses for its own hosts and callers. */
  openings: readonly AddressOpening[];
  /** A rule fits but for the caller, who has no proved user. */
  fitsUsers: boolean;
  /** The rule of the caller's that came nearest, and why it did not fit. */
  near: CompiledRule | undefined;
  nearWhy: Misfit | undefined;
}

type Misfit = "port" | "protocol" | "method" | "path" | "path_not_canonical";

function findRules(tables: EgressTables, caller: EgressCaller, request: EgressRequest): RuleSearch {
  const search: RuleSearch = { allowed: undefined, openings: NO_OPENINGS, fitsUsers: false, near: undefined, nearWhy: undefined };
  for (const entries of covering(tables.allow, request.host)) {
    for (const rule of entries) weigh(search, rule, caller, request);
  }
  return search;
}

function weigh(search: RuleSearch, rule: CompiledRule, caller: EgressCaller, request: EgressRequest): void {
  const why = misfit(rule, request);
  if (!isNamed(rule.policy.callers, caller)) {
    if (why === undefined && caller.user === undefined && rule.policy.callers.users.size > 0) search.fitsUsers = true;
    return;
  }
  if (why !== undefined) {
    if (search.near === undefined || MISFIT_RANK[why] > MISFIT_RANK[search.nearWhy ?? "port"]) {
      search.near = rule;
      search.nearWhy = why;
    }
    return;
  }
  if (rule.openings.length > 0) search.openings = [...search.openings, ...rule.openings];
  if (search.allowed === undefined || rule.order < search.allowed.order) search.allowed = rule;
}

/** The further a request got through a rule, the more its reason tells. */
const MISFIT_RANK: { readonly [why in Misfit]: number } = { port: 0, protocol: 1, method: 2, path: 3, path_not_canonical: 4 };

function misfit(rule: CompiledRule, request: EgressRequest): Misfit | undefined {
  if (!rule.ports.has(portUnder(rule, request))) return "port";
  if (!takes(rule, request.kind)) return "protocol";
  if (rule.methods !== undefined && !rule.methods.has(request.method)) return "method";
  if (rule.paths === undefined) return undefined;
  if (pathProblem(request.path) !== undefined) return "path_not_canonical";
  return rule.paths.some((matcher) => matcher.matches(request.path)) ? undefined : "path";
}

/** Through a tunnel the gateway would see neither methods nor paths, and could add no credential. */
function takes({ protocol, originates }: CompiledRule, kind: EgressRequest["kind"]): boolean {
  switch (kind) {
    case "http":
      return protocol === "http" || originates;
    case "https":
      return protocol === "https";
    case "tunnel":
      return protocol !== "http" && !originates;
  }
}

function allowedBy(
  rule: CompiledRule,
  port: number,
  openings: readonly AddressOpening[],
  reported: EgressDenial | undefined,
): EgressAllow {
  return {
    kind: "allow",
    rule: rule.id,
    policy: rule.policy.id,
    protocol: rule.protocol,
    port,
    openings,
    quotas: rule.quotas,
    inject: rule.inject,
    mode: rule.policy.mode,
    reported,
  };
}

function notAllowed(tables: EgressTables, caller: EgressCaller, request: EgressRequest, search: RuleSearch): EgressDenial {
  const { near, nearWhy } = search;
  if (near !== undefined && nearWhy !== undefined) {
    const code = nearWhy === "path_not_canonical" ? "path_not_canonical" : "no_rule";
    const reason = `${misfitText(nearWhy, request)}; nearest rule ${near.id}`;
    return { kind: "deny", code, rule: near.id, reason, credentialsMayHelp: search.fitsUsers };
  }
  const named = tables.policies.find((policy) => isNamed(policy.callers, caller));
  if (named !== undefined) {
    const reason = `no rule lets this caller reach ${request.host.text}`;
    return { kind: "deny", code: "no_rule", rule: named.id, reason, credentialsMayHelp: search.fitsUsers };
  }
  const credentialsMayHelp = caller.user === undefined && tables.wantsUsers;
  return {
    kind: "deny",
    code: "no_policy_for_caller",
    rule: undefined,
    reason: "no policy names this caller",
    credentialsMayHelp,
  };
}

function misfitText(why: Misfit, request: EgressRequest): string {
  switch (why) {
    case "port":
      return `port ${request.port} of ${request.host.text} is not allowed`;
    case "protocol":
      return PROTOCOL_MISFIT[request.kind](request.host.text);
    case "method":
      return `method ${request.method} is not allowed for ${request.host.text}`;
    case "path":
      return `this path of ${request.host.text} is not allowed`;
    case "path_not_canonical":
      return pathProblem(request.path) ?? "the path is not canonical";
  }
}

const PROTOCOL_MISFIT: { readonly [kind in EgressRequest["kind"]]: (host: string) => string } = {
  http: (host) => `${host} is allowed through a tunnel (CONNECT), not for plain http requests`,
  https: (host) => `${host} is not allowed for https requests`,
  tunnel: (host) => `${host} is allowed for plain http requests, not for tunnels`,
};

/** One place to dial, out of a name's checked answers. */
export interface CheckedAddress {
  /** What is dialled. Undefined `address`: the name itself, because the runtime is the one who resolves it. */
  readonly text: string;
  readonly address: IpAddress | undefined;
  readonly port: number;
  /** The rule that opened a special-purpose address; undefined for public ones. */
  readonly openedBy: string | undefined;
}

/** Most answers of one name that are looked at; more refuse it. */
export const MAX_ANSWERS = 64;

/**
 * Checks every answer of a name: one forbidden address among them refuses the name, whichever would have been dialled. What comes back is in
 * canonical form and is dialled as it stands, without another look-up.
 */
export function decideAddresses(
  openings: readonly AddressOpening[],
  host: Host,
  answers: readonly { readonly address: string; readonly port: number }[],
): { readonly kind: "allow"; readonly addresses: readonly CheckedAddress[] } | EgressDenial {
  if (answers.length === 0) return forbidden("no_address", `${host.text} has no address`);
  if (answers.length > MAX_ANSWERS) return forbidden("address_forbidden", `${host.text} has more than ${MAX_ANSWERS} addresses`);
  const addresses: CheckedAddress[] = [];
  for (const { address: text, port } of answers) {
    const address = parseAddress(text);
    if (address === undefined) return forbidden("address_forbidden", `an answer for ${host.text} is no address`);
    const verdict = judgeAddress(openings, address, port);
    if (verdict.problem !== undefined) {
      return forbidden("address_forbidden", `${host.text} has the address ${formatAddress(address)}: ${verdict.problem}`);
    }
    addresses.push({ address, text: formatAddress(address), port, openedBy: verdict.openedBy });
  }
  return { kind: "allow", addresses };
}

function forbidden(code: EgressDenyCode, reason: string): EgressDenial {
  return { kind: "deny", code, rule: undefined, reason, credentialsMayHelp: false };
}

interface AddressVerdict {
  readonly problem: string | undefined;
  readonly openedBy: string | undefined;
}

const PASSES: AddressVerdict = { problem: undefined, openedBy: undefined };

/** An address that carries IPv4 inside needs an opening for itself and for each special-purpose address that it carries. */
function judgeAddress(openings: readonly AddressOpening[], address: IpAddress, port: number): AddressVerdict {
  const { class: name, reason, embedded } = classifyAddress(address);
  if (name === "public") return PASSES;
  const opening = findOpening(openings, address, port, name === "metadata");
  if (opening === undefined) return { problem: reason, openedBy: undefined };
  for (const inner of embedded) {
    const verdict = judgeAddress(openings, inner, port);
    if (verdict.problem !== undefined)
      return { problem: `${reason}, carrying ${formatAddress(inner)}: ${verdict.problem}`, openedBy: undefined };
  }
  return { problem: undefined, openedBy: opening.ruleId };
}

/** Addresses at which clouds hand out credentials have to be listed one by one: no range opens them by the way. */
function findOpening(
  openings: readonly AddressOpening[],
  address: IpAddress,
  port: number,
  alone: boolean,
): AddressOpening | undefined {
  const width = address.family === 4 ? 32 : 128;
  return openings.find(
    (opening) => opening.ports.has(port) && inCidr(opening.cidr, address) && (!alone || opening.cidr.bits === width),
  );
}
