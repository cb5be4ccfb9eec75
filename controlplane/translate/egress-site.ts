/** What of an EgressPolicy an edge site cannot do. Workers open no tunnels and see no addresses: rules that need either are left out, and say so. */
import { type EgressInjection, secretBinding, userBinding } from "../../gateway/core/ir/index.ts";
import type { EgressAllowRule } from "../config/index.ts";
import { isIpLiteral } from "../registry/index.ts";
import type { EgressPolicyResource } from "./objects.ts";
import type { Status } from "./status.ts";

export interface EgressSite {
  /** Name of the EdgeSite. */
  readonly name: string;
  /** What runs its Workers. */
  readonly runtime: "cloudflare" | "workerd";
}

/** One site's; holds what its rules have used so far. */
export class SiteLimits {
  readonly #site: EgressSite;
  readonly #staticHosts: ReadonlySet<string>;
  readonly #status: Status;
  /** Whose each binding is. */
  readonly #bindings = new Map<string, string>();

  /** @param staticHosts names with addresses of their own, which a Worker cannot dial */
  constructor(site: EgressSite, staticHosts: ReadonlySet<string>, status: Status) {
    this.#site = site;
    this.#staticHosts = staticHosts;
    this.#status = status;
  }

  /** Those callers that can be told: a Worker knows them by binding or token, and an address proves nothing there. */
  callers(policy: EgressPolicyResource): EgressPolicyResource["spec"]["from"] {
    const { from, allow } = policy.spec;
    const known = from.filter(({ kind, value }, index) => {
      if (kind === "proxyUser") return this.#takesUser(policy, value, `spec.from[${index}].proxyUser`);
      return kind === "edgeService";
    });
    if (known.length === 0 && from.length > 0 && allow.length > 0) {
      this.#unsupported(policy, "spec.from", "callers are told by edgeService or proxyUser, so nobody may use these rules there");
    }
    return known;
  }

  /** What is left of a rule; undefined: nothing. */
  rule(policy: EgressPolicyResource, rule: EgressAllowRule, path: string): EgressAllowRule | undefined {
    const { runtime } = this.#site;
    if (rule.protocol === "tls" || rule.protocol === "tcp") {
      const message = `protocol ${rule.protocol} needs a tunnel, which Workers do not open, so the rule is left out there`;
      return this.#unsupported(policy, `${path}.protocol`, message);
    }
    if (rule.addresses.length > 0) {
      if (runtime === "cloudflare") {
        const message =
          "addresses cannot be reached: Workers on Cloudflare fetch from public addresses only, so the rule is left out there";
        return this.#unsupported(policy, `${path}.addresses`, message);
      }
      const message =
        "addresses opens addresses that are listed as hosts; where names may lead is the runtime's to say (allowNetworks), for all rules alike";
      this.#unsupported(policy, `${path}.addresses`, message);
    }
    if (!this.#takesSecrets(policy, rule, path)) return undefined;
    const hosts = rule.hosts.filter((host, index) => this.#reaches(policy, host, `${path}.hosts[${index}]`));
    return hosts.length === 0 ? undefined : { ...rule, hosts };
  }

  #reaches(policy: EgressPolicyResource, host: string, path: string): boolean {
    if (this.#site.runtime === "cloudflare" && isIpLiteral(host.replace(/^\[|\]$/g, ""))) {
      this.#unsupported(
        policy,
        path,
        `${host} is an address, which Workers on Cloudflare do not fetch from, so it is left out there`,
      );
      return false;
    }
    if (!this.#staticHosts.has(host)) return true;
    this.#unsupported(
      policy,
      path,
      `${host} has addresses of its own (ServiceEntry), which a Worker cannot dial, so it is left out there`,
    );
    return false;
  }

  #takesSecrets(policy: EgressPolicyResource, rule: EgressAllowRule, path: string): boolean {
    return rule.inject.every(({ fromSecret }, index) => {
      const secret: EgressInjection["secret"] = { namespace: policy.metadata.namespace, ...fromSecret };
      const binding = secretBinding(secret);
      const other = this.#bind(binding, `${secret.namespace}/${secret.name}, key ${secret.key}`);
      if (other === undefined) return true;
      const message = `the secret would be the binding ${binding}, which is that of ${other} already, so the rule is left out there; rename one`;
      this.#unsupported(policy, `${path}.inject[${index}].fromSecret`, message);
      return false;
    });
  }

  #takesUser(policy: EgressPolicyResource, user: string, path: string): boolean {
    const binding = userBinding(user);
    const other = this.#bind(binding, user);
    if (other === undefined) return true;
    const message = `the token of ${user} would be the binding ${binding}, which is that of ${other} already, so the caller is left out there; rename one`;
    this.#unsupported(policy, path, message);
    return false;
  }

  /** Whoever comes first in order of precedence has the binding. @returns who has it, if somebody else does */
  #bind(binding: string, owner: string): string | undefined {
    const holder = this.#bindings.get(binding) ?? owner;
    this.#bindings.set(binding, holder);
    return holder === owner ? undefined : holder;
  }

  #unsupported(policy: EgressPolicyResource, path: string, message: string): undefined {
    this.#status.report("unsupported", policy, path, `at the edge site ${this.#site.name}: ${message}`);
  }
}
