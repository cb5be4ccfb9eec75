/** EgressPolicy objects → what an egress gateway decides by. */

import type {
  EgressConfig,
  EgressInjection,
  EgressPolicy,
  EgressPrincipal,
  EgressRule,
  EgressUser,
  Listener,
} from "../../gateway/core/ir/index.ts";
import type { EgressAllowRule, MeshConfigSpec } from "../config/index.ts";
import { compareText, isIpLiteral, isWildcard, type Registry, type Service } from "../registry/index.ts";
import { type EgressSite, SiteLimits } from "./egress-site.ts";
import type { EgressPolicyResource } from "./objects.ts";
import { egressQuotas } from "./quota-policy.ts";
import type { QuotaTargets } from "./quota-targets.ts";
import { objectKey, type Status } from "./status.ts";

export interface EgressContext {
  readonly mesh: MeshConfigSpec;
  /** The pool's own: what it may see. */
  readonly namespace: string;
  readonly registry: Registry;
  readonly quotas: QuotaTargets;
  readonly users: readonly EgressUser[];
  readonly status: Status;
  /** Where the policies are for: undefined: a gateway on Node. */
  readonly site?: EgressSite | undefined;
}

/** `policies` in order of precedence. */
export function egressConfig(policies: readonly EgressPolicyResource[], context: EgressContext): EgressConfig {
  const { site, status } = context;
  const fixed = staticHosts(context);
  const limits = site === undefined ? undefined : new SiteLimits(site, new Set(fixed.map(({ host }) => host)), status);
  return {
    policies: policies.map((policy) => egressPolicy(policy, limits, context)),
    staticHosts: fixed,
    // A site tells its users by tokens of its own: nobody can try to guess a password from what it is sent.
    users: site === undefined ? [...context.users].sort((a, b) => compareText(a.name, b.name)) : [],
    realm: context.mesh.proxyUsers.realm,
  };
}

/** The listener of the forward proxy: absolute form and CONNECT. */
export function forwardProxyListener(bind: string, port: number): Listener {
  return { name: `${bind}:${port}`, bind, port, servicePort: port, protocol: "forward-proxy", servers: [], origins: [] };
}

function egressPolicy(policy: EgressPolicyResource, limits: SiteLimits | undefined, context: EgressContext): EgressPolicy {
  const { spec, metadata } = policy;
  context.status.programmed(policy);
  const from = limits === undefined ? spec.from : limits.callers(policy);
  return {
    id: objectKey(policy),
    origin: { kind: policy.kind, namespace: metadata.namespace, name: metadata.name },
    namespace: metadata.namespace,
    floor: metadata.namespace === context.mesh.rootNamespace,
    from: principals(from),
    mode: spec.mode,
    allow: spec.allow.flatMap((rule, index) => {
      const path = `spec.allow[${index}]`;
      const kept = limits === undefined ? rule : limits.rule(policy, rule, path);
      return kept === undefined ? [] : [egressRule(policy, kept, path, context)];
    }),
    deny: spec.deny.map(({ hosts, ports, reason }) => ({ hosts: hosts.map(bracketed), ports, reason })),
  };
}

/** Config takes out callers that cannot be told yet. */
function principals(from: EgressPolicyResource["spec"]["from"]): readonly EgressPrincipal[] {
  return from.flatMap(({ kind, value }): EgressPrincipal[] => {
    if (kind === "serviceAccount") return [];
    return [kind === "ipBlock" ? { kind, cidr: value } : { kind, name: value }];
  });
}

function egressRule(policy: EgressPolicyResource, rule: EgressAllowRule, path: string, context: EgressContext): EgressRule {
  const { quotas, mesh } = context;
  const own = egressQuotas(policy, rule, path, mesh);
  for (const quota of own) quotas.add(quota);
  return {
    name: rule.name,
    hosts: rule.hosts.map(bracketed),
    ports: rule.ports,
    protocol: rule.protocol,
    methods: rule.methods,
    paths: rule.paths,
    addresses: rule.addresses,
    quotas: [...own.map(({ id }) => id), ...quotas.ofEgressRule(objectKey(policy), rule.name)],
    ...(rule.originate === undefined ? {} : { originate: { tls: "simple" } }),
    ...(rule.inject.length === 0 ? {} : { inject: rule.inject.map((credential) => egressInjection(policy, credential)) }),
  };
}

/** A policy names secrets of its own namespace only. */
function egressInjection(policy: EgressPolicyResource, { header, prefix, fromSecret }: Injection): EgressInjection {
  return { header, secret: { namespace: policy.metadata.namespace, ...fromSecret }, prefix };
}

type Injection = EgressAllowRule["inject"][number];

/** IPv6 literals stand in brackets, as in an authority (RFC 3986 3.2.2). */
function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

/** Names with addresses of their own, which are never looked up. */
function staticHosts(context: EgressContext): EgressConfig["staticHosts"] {
  const { registry, namespace, status } = context;
  return registry.services.flatMap((service) => {
    if (isWildcard(service.host) || registry.find(service.host, namespace) !== service) return [];
    if (!service.ports.every(({ endpoints }) => endpoints.every(({ address }) => isIpLiteral(address)))) return [];
    const endpoints = staticEndpoints(service, status);
    if (endpoints.length === 0) return [];
    for (const { ref } of service.declarations) status.programmedRef(ref);
    return [{ host: service.host, endpoints }];
  });
}

type StaticEndpoint = EgressConfig["staticHosts"][number]["endpoints"][number];

/** A port of its own is only told where it differs from the one that is asked for, which needs a service with a single port. */
function staticEndpoints(service: Service, status: Status): readonly StaticEndpoint[] {
  const [first, ...more] = service.ports;
  if (first === undefined) return [];
  if (more.length > 0 && service.ports.some(({ number, endpoints }) => endpoints.some((endpoint) => endpoint.port !== number))) {
    const [declaration] = service.declarations;
    const message = `${service.host} has several ports with target ports; the egress gateway connects to the port that was asked for`;
    if (declaration !== undefined) status.reportOn("unsupported", declaration, "spec.ports", message);
  }
  const found = new Map<string, StaticEndpoint>();
  for (const port of service.ports) {
    for (const { address, port: target } of port.endpoints) {
      if (more.length > 0 || target === port.number) found.set(address, { address });
      else found.set(`${address} ${target}`, { address, port: target });
    }
  }
  return [...found.entries()].sort(([a], [b]) => compareText(a, b)).map(([, endpoint]) => endpoint);
}
