/** EgressConfig → tables, once per snapshot. Whatever cannot be enforced as written is an issue, and then there are no tables at all. */
import {
  type EgressConfig,
  type EgressInjection,
  type EgressPolicy,
  type EgressPrincipal,
  type EgressRule,
  type EgressUser,
  isInjectable,
} from "../ir/index.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import { fail, type Issue, ok, type Result } from "../result.ts";
import { type Cidr, parseAddress, parseCidr } from "./address.ts";
import { type Host, parseHost } from "./name.ts";
import { compilePath, type PathMatcher } from "./path.ts";

export interface EgressTables {
  readonly policies: readonly CompiledPolicy[];
  /** In the order of the policies and of their rules; among several that fit, the first gives its name and quotas. */
  readonly allow: HostTable<CompiledRule>;
  readonly deny: HostTable<CompiledDeny>;
  /** Policies whose callers are let through and listed. */
  readonly reporting: readonly CompiledPolicy[];
  readonly users: ReadonlyMap<string, EgressUser>;
  /** Some policy names proxy users, so that a credential could change a decision. */
  readonly wantsUsers: boolean;
  readonly staticHosts: ReadonlyMap<string, readonly StaticEndpoint[]>;
  readonly realm: string;
}

interface StaticEndpoint {
  readonly address: string;
  readonly port: number | undefined;
}

/** Whose requests something applies to: any of. Empty: nobody's. */
export interface Callers {
  readonly users: ReadonlySet<string>;
  /** Workers behind service bindings. */
  readonly services: ReadonlySet<string>;
  readonly blocks: readonly Cidr[];
}

interface CompiledPolicy {
  readonly id: string;
  readonly namespace: string;
  readonly callers: Callers;
  readonly mode: EgressMode;
}

export type EgressMode = EgressPolicy["mode"];

export interface CompiledRule {
  /** `<namespace>/<policy>#<rule>`: what logs, headers and `explain` show. */
  readonly id: string;
  readonly order: number;
  readonly policy: CompiledPolicy;
  readonly ports: ReadonlySet<number>;
  readonly protocol: EgressRule["protocol"];
  /** The gateway makes TLS to the host for requests that come in the clear. */
  readonly originates: boolean;
  /** Undefined: all. */
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly PathMatcher[] | undefined;
  readonly openings: readonly AddressOpening[];
  /** In the order they are charged. */
  readonly quotas: readonly CompiledQuota[];
  /** One per header. */
  readonly inject: readonly EgressInjection[];
}

/** Special-purpose addresses that one rule opens, on these ports only. */
export interface AddressOpening {
  readonly ruleId: string;
  readonly cidr: Cidr;
  readonly ports: ReadonlySet<number>;
}

export interface CompiledDeny {
  /** `<namespace>/<policy>#deny[<index>]`. */
  readonly id: string;
  readonly reason: string;
  /** Undefined: all. */
  readonly ports: ReadonlySet<number> | undefined;
  /** Undefined: everybody (root namespace). Otherwise all callers that any policy of the namespace names. */
  readonly callers: Callers | undefined;
  /** A deny in a policy that does not enforce is listed. */
  readonly mode: EgressMode;
}

/** Entries by host: one lookup for the name and one per label above it. */
export interface HostTable<T> {
  /** Exact names and addresses. */
  readonly exact: ReadonlyMap<string, readonly T[]>;
  /** `*.example.com` is kept as `.example.com`. */
  readonly suffix: ReadonlyMap<string, readonly T[]>;
  /** `*`, which only a deny may say: every name and every address. */
  readonly any: readonly T[];
}

/** The lists of entries that cover a host; a `*.` wildcard covers names below it only, never itself and never an address. */
export function covering<T>(table: HostTable<T>, host: Host): readonly (readonly T[])[] {
  const found: (readonly T[])[] = [];
  const exact = table.exact.get(host.text);
  if (exact !== undefined) found.push(exact);
  if (table.any.length > 0) found.push(table.any);
  if (host.kind === "address" || table.suffix.size === 0) return found;
  for (let dot = host.text.indexOf("."); dot !== -1; dot = host.text.indexOf(".", dot + 1)) {
    const below = table.suffix.get(host.text.slice(dot));
    if (below !== undefined) found.push(below);
  }
  return found;
}

/** What a gateway without an egress section lets out: nothing. */
export const NO_EGRESS: EgressConfig = { policies: [], staticHosts: [], users: [], realm: "tidegate" };

/**
 * Every problem of the configuration at once, or its tables.
 *
 * @param quotas the snapshot's quotas by id; rules name theirs
 */
export function compileEgress(
  config: EgressConfig,
  quotas: ReadonlyMap<string, CompiledQuota> = new Map(),
): Result<EgressTables> {
  return new Compiler(config, quotas).run();
}

class Compiler {
  readonly #config: EgressConfig;
  readonly #quotaById: ReadonlyMap<string, CompiledQuota>;
  readonly #issues: Issue[] = [];
  readonly #allow = new TableBuilder<CompiledRule>();
  readonly #deny = new TableBuilder<CompiledDeny>();
  #order = 0;

  constructor(config: EgressConfig, quotas: ReadonlyMap<string, CompiledQuota>) {
    this.#config = config;
    this.#quotaById = quotas;
  }

  run(): Result<EgressTables> {
    const config = this.#config;
    const policies = config.policies.map((policy, index) => this.#policy(policy, `policies[${index}]`));
    const byNamespace = this.#callersByNamespace(policies);
    for (const [index, policy] of config.policies.entries()) {
      const compiled = policies[index];
      if (compiled === undefined) continue;
      this.#allows(policy, compiled, `policies[${index}]`);
      this.#denies(policy, byNamespace.get(policy.namespace), `policies[${index}]`);
    }
    const staticHosts = this.#staticHosts();
    if (this.#issues.length > 0) return fail(this.#issues);
    return ok({
      policies,
      allow: this.#allow.build(),
      deny: this.#deny.build(),
      reporting: policies.filter((policy) => policy.mode !== "enforce"),
      users: new Map(config.users.map((user) => [user.name, user])),
      wantsUsers: policies.some((policy) => policy.callers.users.size > 0),
      staticHosts,
      realm: config.realm,
    });
  }

  #issue(path: string, problem: string): void {
    this.#issues.push({ path, problem });
  }

  #policy(policy: EgressPolicy, path: string): CompiledPolicy {
    return {
      id: policy.id,
      namespace: policy.namespace,
      callers: this.#callers(policy.from, `${path}.from`),
      mode: policy.mode,
    };
  }

  #callers(from: readonly EgressPrincipal[], path: string): Callers {
    const users = new Set<string>();
    const services = new Set<string>();
    const blocks: Cidr[] = [];
    for (const [index, principal] of from.entries()) {
      if (principal.kind === "proxyUser") {
        users.add(principal.name);
        continue;
      }
      if (principal.kind === "edgeService") {
        services.add(principal.name);
        continue;
      }
      const cidr = this.#cidr(principal.cidr, `${path}[${index}].cidr`);
      if (cidr !== undefined) blocks.push(cidr);
    }
    return { users, services, blocks };
  }

  #cidr(text: string, path: string): Cidr | undefined {
    const cidr = parseCidr(text);
    if (cidr === undefined) this.#issue(path, "not an address range; write address/bits with no bits set behind the prefix");
    return cidr;
  }

  /** A namespaced deny holds for callers that any policy of that namespace names. */
  #callersByNamespace(policies: readonly CompiledPolicy[]): ReadonlyMap<string, Callers> {
    const all = new Map<string, { readonly users: Set<string>; readonly services: Set<string>; readonly blocks: Cidr[] }>();
    for (const { namespace, callers } of policies) {
      let entry = all.get(namespace);
      if (entry === undefined) {
        entry = { users: new Set(), services: new Set(), blocks: [] };
        all.set(namespace, entry);
      }
      for (const user of callers.users) entry.users.add(user);
      for (const service of callers.services) entry.services.add(service);
      entry.blocks.push(...callers.blocks);
    }
    return all;
  }

  #allows(policy: EgressPolicy, compiled: CompiledPolicy, path: string): void {
    for (const [index, rule] of policy.allow.entries()) {
      const place = `${path}.allow[${index}]`;
      const entry = this.#rule(rule, compiled, place);
      for (const host of this.#hosts(rule.hosts, place, false)) this.#allow.add(host, entry);
    }
  }

  #rule(rule: EgressRule, policy: CompiledPolicy, place: string): CompiledRule {
    const id = `${policy.id}#${rule.name}`;
    const { protocol, inject = [] } = rule;
    const originates = rule.originate !== undefined;
    if (originates && protocol !== "https") this.#issue(`${place}.originate`, `goes with protocol https, not ${protocol}`);
    const seen = protocol === "http" || originates;
    if (!seen && rule.methods.length + rule.paths.length + inject.length > 0) {
      this.#issue(
        place,
        `methods, paths and inject need requests that the gateway sees, which it does not in ${protocol}; use http, https with originate, or leave them out`,
      );
    }
    return {
      id,
      order: this.#order++,
      policy,
      ports: this.#ports(rule.ports, `${place}.ports`),
      protocol,
      originates,
      methods: rule.methods.length > 0 ? new Set(rule.methods) : undefined,
      paths: rule.paths.length > 0 ? this.#paths(rule, place) : undefined,
      openings: this.#openings(rule, id, place),
      quotas: this.#quotas(rule.quotas, `${place}.quotas`),
      inject: this.#injections(inject, `${place}.inject`),
    };
  }

  #injections(inject: readonly EgressInjection[], path: string): readonly EgressInjection[] {
    const headers = new Set<string>();
    for (const [index, { header }] of inject.entries()) {
      if (!isInjectable(header)) this.#issue(`${path}[${index}].header`, `${header} is the gateway's own to write`);
      if (headers.has(header)) this.#issue(`${path}[${index}].header`, `${header} is set twice`);
      headers.add(header);
    }
    return inject;
  }

  #quotas(ids: readonly string[], path: string): readonly CompiledQuota[] {
    const quotas: CompiledQuota[] = [];
    for (const [index, id] of ids.entries()) {
      const quota = this.#quotaById.get(id);
      if (quota === undefined) this.#issue(`${path}[${index}]`, `there is no quota ${id} in this snapshot`);
      else quotas.push(quota);
    }
    return quotas;
  }

  #ports(ports: readonly number[], path: string): ReadonlySet<number> {
    if (ports.some((port) => !Number.isInteger(port) || port < 1 || port > 65_535)) {
      this.#issue(path, "a port is a whole number from 1 to 65535");
    }
    return new Set(ports);
  }

  #paths(rule: EgressRule, place: string): readonly PathMatcher[] {
    const matchers: PathMatcher[] = [];
    for (const [index, match] of rule.paths.entries()) {
      const matcher = compilePath(match);
      if (matcher === undefined) this.#issue(`${place}.paths[${index}]`, "a path is exact or a prefix, compared byte for byte");
      else matchers.push(matcher);
    }
    return matchers;
  }

  #openings(rule: EgressRule, ruleId: string, place: string): readonly AddressOpening[] {
    const openings: AddressOpening[] = [];
    for (const [index, entry] of rule.addresses.entries()) {
      const path = `${place}.addresses[${index}]`;
      const cidr = this.#cidr(entry.cidr, `${path}.cidr`);
      const ports = this.#ports(entry.ports, `${path}.ports`);
      if (cidr !== undefined) openings.push({ ruleId, cidr, ports });
    }
    return openings;
  }

  #denies(policy: EgressPolicy, namespaceCallers: Callers | undefined, path: string): void {
    for (const [index, deny] of policy.deny.entries()) {
      const place = `${path}.deny[${index}]`;
      const entry: CompiledDeny = {
        id: `${policy.id}#deny[${index}]`,
        reason: deny.reason,
        ports: deny.ports.length > 0 ? this.#ports(deny.ports, `${place}.ports`) : undefined,
        callers: policy.floor ? undefined : namespaceCallers,
        mode: policy.mode,
      };
      for (const host of this.#hosts(deny.hosts, place, true)) this.#deny.add(host, entry);
    }
  }

  /** Hosts as a table keeps them: wildcards without their star, IPv6 in brackets. */
  #hosts(hosts: readonly string[], place: string, mayBeAll: boolean): readonly string[] {
    const keys: string[] = [];
    for (const [index, host] of hosts.entries()) {
      if (host === "*" && mayBeAll) {
        keys.push(host);
        continue;
      }
      const wildcard = host.startsWith("*.");
      const parsed = parseHost(wildcard ? host.slice(2) : host);
      if (!parsed.ok) this.#issue(`${place}.hosts[${index}]`, parsed.error.text);
      else if (!wildcard) keys.push(parsed.value.text);
      else if (parsed.value.kind === "name") keys.push(`.${parsed.value.text}`);
      else this.#issue(`${place}.hosts[${index}]`, "a wildcard stands before a name, not before an address");
    }
    return keys;
  }

  #staticHosts(): ReadonlyMap<string, readonly StaticEndpoint[]> {
    const hosts = new Map<string, readonly StaticEndpoint[]>();
    for (const [index, entry] of this.#config.staticHosts.entries()) {
      const parsed = parseHost(entry.host);
      if (!parsed.ok) this.#issue(`staticHosts[${index}].host`, parsed.error.text);
      for (const [at, { address }] of entry.endpoints.entries()) {
        if (parseAddress(address) === undefined)
          this.#issue(`staticHosts[${index}].endpoints[${at}].address`, "not an IP address");
      }
      hosts.set(
        entry.host,
        entry.endpoints.map(({ address, port }) => ({ address, port })),
      );
    }
    return hosts;
  }
}

class TableBuilder<T> {
  readonly #exact = new Map<string, T[]>();
  readonly #suffix = new Map<string, T[]>();
  readonly #any: T[] = [];

  add(host: string, entry: T): void {
    if (host === "*") {
      this.#any.push(entry);
      return;
    }
    const map = host.startsWith(".") ? this.#suffix : this.#exact;
    const entries = map.get(host);
    if (entries === undefined) map.set(host, [entry]);
    else if (entries.at(-1) !== entry) entries.push(entry);
  }

  build(): HostTable<T> {
    return { exact: this.#exact, suffix: this.#suffix, any: this.#any };
  }
}
