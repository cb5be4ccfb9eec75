/** DestinationRules: which one applies to a service, and what it says for one port and subset. */

import type { DestinationSubset, PortTrafficPolicy, TrafficPolicy } from "../config/index.ts";
import { HostIndex, resolveShortName, visibility, visibleIn } from "../registry/index.ts";
import type { DestinationRuleResource } from "./objects.ts";
import { describe, type Status } from "./status.ts";
import type { LocatedPool } from "./types.ts";

/** All rules of one namespace for one host, as one. */
export interface MergedRule {
  readonly host: string;
  readonly policy: Owned<TrafficPolicy> | undefined;
  readonly subsets: ReadonlyMap<string, Owned<DestinationSubset>>;
  readonly rules: readonly DestinationRuleResource[];
}

/** A part of a rule that still knows whose it is. */
interface Owned<T> {
  readonly rule: DestinationRuleResource;
  readonly path: string;
  readonly value: T;
}

export class DestinationRules {
  readonly #byNamespace = new Map<string, HostIndex<MergedRule>>();
  readonly #client: string | undefined;
  readonly #root: string;

  /** `rules` in order of precedence. Only those that the pool's namespace may see count. */
  constructor(rules: readonly DestinationRuleResource[], pool: LocatedPool, rootNamespace: string, status: Status) {
    // What stands in the root namespace is the mesh's default, also for gateways that live there.
    this.#client = pool.namespace === rootNamespace ? undefined : pool.namespace;
    this.#root = rootNamespace;
    for (const rule of rules) {
      const { spec, metadata } = rule;
      if (!visibleIn(visibility(spec.exportTo, metadata.namespace), pool.namespace)) continue;
      const host = resolveShortName(spec.host, metadata.namespace);
      const index = this.#byNamespace.get(metadata.namespace) ?? new HostIndex<MergedRule>();
      this.#byNamespace.set(metadata.namespace, index);
      const known = index.get(host);
      index.set(host, known === undefined ? firstRule(host, rule) : join(known, rule, status));
    }
  }

  /**
   * The client's own namespace, then the service's, then the root namespace; in the first that has any, the most specific host. Rules of
   * different hosts are never combined.
   */
  find(host: string, serviceNamespace: string): MergedRule | undefined {
    for (const namespace of [this.#client, serviceNamespace, this.#root]) {
      const found = namespace === undefined ? undefined : this.#byNamespace.get(namespace)?.mostSpecific(host);
      if (found !== undefined) return found.value;
    }
    return undefined;
  }
}

function firstRule(host: string, rule: DestinationRuleResource): MergedRule {
  return { host, policy: policyOf(rule), subsets: new Map(subsetsOf(rule)), rules: [rule] };
}

function policyOf(rule: DestinationRuleResource): Owned<TrafficPolicy> | undefined {
  const value = rule.spec.trafficPolicy;
  return value === undefined ? undefined : { rule, path: "spec.trafficPolicy", value };
}

function subsetsOf(rule: DestinationRuleResource): [string, Owned<DestinationSubset>][] {
  return rule.spec.subsets.map((value, index) => [value.name, { rule, path: `spec.subsets[${index}]`, value }]);
}

/** Same host twice: subsets are joined, the older one wins where both say something; so does the older top-level policy. */
function join(known: MergedRule, rule: DestinationRuleResource, status: Status): MergedRule {
  const subsets = new Map(known.subsets);
  let clash = false;
  for (const [name, subset] of subsetsOf(rule)) {
    const older = subsets.get(name);
    if (older === undefined) {
      subsets.set(name, subset);
    } else {
      clash = true;
      status.conflict(older.rule, older.path, rule, subset.path, `subset ${name} of ${known.host}`);
    }
  }
  const policy = policyOf(rule);
  if (policy !== undefined && known.policy !== undefined) {
    clash = true;
    status.conflict(known.policy.rule, known.policy.path, rule, policy.path, `the traffic policy of ${known.host}`);
  }
  if (!clash) tellJoined(known, rule, status);
  return { ...known, policy: known.policy ?? policy, subsets, rules: [...known.rules, rule] };
}

function tellJoined(known: MergedRule, rule: DestinationRuleResource, status: Status): void {
  const first = known.rules[0];
  if (first === undefined) return;
  status.report("warning", first, "spec.host", `host ${known.host} also has ${describe(rule)}; the two are joined`);
  status.report("warning", rule, "spec.host", `host ${known.host} also has ${describe(first)}; the two are joined`);
}

/** The blocks of a policy, each with its owner for messages. */
export interface PolicyBlocks {
  readonly loadBalancer?: Owned<NonNullable<TrafficPolicy["loadBalancer"]>>;
  readonly connectionPool?: Owned<NonNullable<TrafficPolicy["connectionPool"]>>;
  readonly outlierDetection?: Owned<NonNullable<TrafficPolicy["outlierDetection"]>>;
  readonly tls?: Owned<NonNullable<TrafficPolicy["tls"]>>;
  readonly retryBudget?: Owned<NonNullable<TrafficPolicy["retryBudget"]>>;
  readonly proxyProtocol?: Owned<NonNullable<TrafficPolicy["proxyProtocol"]>>;
}

/** What applies to one port of a service, for one subset: the port's settings replace the policy, the subset's replace it block by block. */
export function effectivePolicy(rule: MergedRule | undefined, subset: string | undefined, port: number): PolicyBlocks {
  const general = rule?.policy === undefined ? {} : forPort(rule.policy, blocksOf(rule.policy), port);
  const chosen = subset === undefined ? undefined : rule?.subsets.get(subset);
  if (chosen?.value.trafficPolicy === undefined) return general;
  const own = { rule: chosen.rule, path: `${chosen.path}.trafficPolicy`, value: chosen.value.trafficPolicy };
  return forPort(own, { ...general, ...blocksOf(own) }, port);
}

/** Settings of a port replace all blocks that a port can have: what they leave out is the default, not what stands above. */
function forPort(policy: Owned<TrafficPolicy>, blocks: PolicyBlocks, port: number): PolicyBlocks {
  const index = policy.value.portLevelSettings.findIndex((settings) => settings.port.number === port);
  const settings = policy.value.portLevelSettings[index];
  if (settings === undefined) return blocks;
  const { loadBalancer: _l, connectionPool: _c, outlierDetection: _o, tls: _t, ...rest } = blocks;
  return { ...rest, ...blocksOf({ ...policy, path: `${policy.path}.portLevelSettings[${index}]`, value: settings }) };
}

const BLOCKS = ["loadBalancer", "connectionPool", "outlierDetection", "tls", "retryBudget", "proxyProtocol"] as const;

function blocksOf(policy: Owned<TrafficPolicy> | Owned<PortTrafficPolicy>): PolicyBlocks {
  const value: Partial<TrafficPolicy> = policy.value;
  const owned = BLOCKS.filter((name) => value[name] !== undefined).map((name) => [
    name,
    { rule: policy.rule, path: `${policy.path}.${name}`, value: value[name] },
  ]);
  return Object.fromEntries(owned);
}
