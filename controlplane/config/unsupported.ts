/**
 * What the schemas know and the mesh cannot do yet. Each rule names a field and says what becomes of it: a part that only tunes is left out;
 * an object whose meaning would change without the field (which requests match, where they go, how safe it is) is refused.
 */
import type { FieldPath, Json } from "./documents.ts";
import type { KindName } from "./kinds/index.ts";

export interface UnsupportedRule {
  /** Field pattern: `spec.servers[].port.protocol`; `[]` any index, `{}` any key. */
  readonly field: string;
  /** Whether a value is one that does not work; default: any. `around` is the value that holds the field. */
  readonly when?: (value: Json, around: JsonMap) => boolean;
  /**
   * What is left out: the field itself, or a part around it by its pattern; without a pattern translation leaves it out, for those who cannot
   * do it. `object`: the whole object is refused. `nothing`: it only has no effect.
   */
  readonly effect: "field" | "object" | "nothing" | { readonly drop?: string; readonly name: string };
  /** What is asked for: `protocol MONGO`. Default: the field's last name. */
  readonly what?: (value: Json) => string;
  /** What holds instead, when a field is left out. */
  readonly instead?: string;
}

type JsonMap = { readonly [key: string]: Json };

const text = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));
const oneOf =
  (...values: readonly string[]) =>
  (value: Json): boolean =>
    typeof value === "string" && values.includes(value.toUpperCase());
const isUnixSocket = (value: Json): boolean => typeof value === "string" && value.startsWith("unix://");
const named =
  (label: string) =>
  (value: Json): string =>
    `${label} ${text(value)}`;

/** Protocols of servers, and identities that are not there yet. */
function gatewayRules(): readonly UnsupportedRule[] {
  const server = { drop: "spec.servers[]", name: "the server" };
  return [
    { field: "spec.servers[].port.targetPort", effect: "field", instead: "the pool's port map decides" },
    { field: "spec.servers[].bind", when: isUnixSocket, effect: server, what: () => "a Unix socket" },
    { field: "spec.servers[].defaultEndpoint", effect: server },
    { field: "spec.servers[].tls.mode", when: oneOf("ISTIO_MUTUAL"), effect: server, what: named("mode") },
    {
      field: "spec.servers[].tls.minProtocolVersion",
      when: oneOf("TLSV1_0", "TLSV1_1"),
      effect: "field",
      what: named("minProtocolVersion"),
      instead: "TLS 1.2 is the lowest",
    },
    {
      field: "spec.servers[].tls.maxProtocolVersion",
      when: oneOf("TLSV1_0", "TLSV1_1"),
      effect: server,
      what: named("maxProtocolVersion"),
    },
  ];
}

/** Conditions of a match that nobody can tell yet: without them more would match. */
function matchRules(match: string): readonly UnsupportedRule[] {
  const claim = (value: Json): boolean => Object.keys(mapOf(value)).some((name) => name.startsWith("@request.auth."));
  const claims = (field: string): UnsupportedRule => ({
    field: `${match}.${field}`,
    when: claim,
    effect: "object",
    what: () => "matching on @request.auth claims",
  });
  return [...sourceRules(match), { field: `${match}.statPrefix`, effect: "field" }, claims("headers"), claims("withoutHeaders")];
}

/** Who the client is, by what only sidecars can know. */
function sourceRules(match: string): readonly UnsupportedRule[] {
  return ["sourceLabels", "sourceNamespace"].map(
    (field): UnsupportedRule => ({ field: `${match}.${field}`, effect: "object", what: () => `matching on ${field}` }),
  );
}

function virtualServiceRules(): readonly UnsupportedRule[] {
  const mesh = "the gateway mesh (sidecars)";
  return [
    { field: "spec.gateways[]", when: oneOf("MESH"), effect: "nothing", what: () => mesh },
    {
      field: "spec.hosts",
      when: (_, around) => around["gateways"] === undefined,
      effect: "nothing",
      what: () => `${mesh}, which holds where no gateways are listed,`,
    },
    ...matchRules("spec.http[].match[]"),
    ...sourceRules("spec.tls[].match[]"),
    ...sourceRules("spec.tcp[].match[]"),
    { field: "spec.http[].delegate", effect: "object" },
    {
      field: "spec.http[].retries.retryOn",
      when: (value) =>
        text(value)
          .split(/\s*,\s*/)
          .includes("retriable-headers"),
      effect: "nothing",
      what: () => "retriable-headers in retryOn",
      instead: "there is no field that lists the headers, and the other conditions hold",
    },
    { field: "spec.http[].fault.delay.exponentialDelay", effect: { drop: "spec.http[].fault.delay", name: "the delay" } },
    { field: "spec.http[].fault.abort.http2Error", effect: { drop: "spec.http[].fault.abort", name: "the abort" } },
  ];
}

/** What a traffic policy asks for; the same at the top, per port and per subset. */
function trafficRules(policy: string): readonly UnsupportedRule[] {
  const tunes = (field: string, instead?: string): UnsupportedRule => ({
    field: `${policy}.${field}`,
    effect: "field",
    ...(instead ? { instead } : {}),
  });
  return [
    { field: `${policy}.loadBalancer.simple`, when: oneOf("PASSTHROUGH"), effect: "object", what: named("loadBalancer") },
    tunes("loadBalancer.localityLbSetting.zoneAwareLbSetting", "requests go to the nearest, see failover"),
    { field: `${policy}.tls.mode`, when: oneOf("ISTIO_MUTUAL"), effect: "object", what: named("client tls mode") },
  ];
}

function destinationRuleRules(): readonly UnsupportedRule[] {
  const whole = (policy: string): readonly UnsupportedRule[] => [
    ...trafficRules(policy),
    ...trafficRules(`${policy}.portLevelSettings[]`),
    { field: `${policy}.tunnel`, effect: "object" },
  ];
  return [
    ...whole("spec.trafficPolicy"),
    ...whole("spec.subsets[].trafficPolicy"),
    { field: "spec.workloadSelector", effect: "object" },
  ];
}

function serviceEntryRules(): readonly UnsupportedRule[] {
  const endpoint = { drop: "spec.endpoints[]", name: "the endpoint" };
  return [
    { field: "spec.addresses", effect: "field", instead: "the service is known by its hosts" },
    { field: "spec.resolution", when: oneOf("DYNAMIC_DNS"), effect: "object", what: named("resolution") },
    { field: "spec.endpoints[].address", when: isUnixSocket, effect: endpoint, what: () => "a Unix socket" },
    { field: "spec.endpoints[].network", effect: endpoint },
    { field: "spec.endpoints[].serviceAccount", effect: "field" },
  ];
}

function quotaRules(): readonly UnsupportedRule[] {
  return [
    { field: "spec.scope", when: oneOf("CLUSTER"), effect: "object", what: named("scope") },
    { field: "spec.key[].jwtClaim", effect: "object", what: () => "a jwtClaim key" },
    ...matchRules("spec.match[]"),
  ];
}

function egressRules(): readonly UnsupportedRule[] {
  const caller = { drop: "spec.from[]", name: "the caller" };
  return [{ field: "spec.from[].serviceAccount", effect: caller, what: () => "identity by serviceAccount" }];
}

/** Every rule, by kind. */
export const UNSUPPORTED: { readonly [Kind in KindName]: readonly UnsupportedRule[] } = {
  Gateway: gatewayRules(),
  VirtualService: virtualServiceRules(),
  DestinationRule: destinationRuleRules(),
  ServiceEntry: serviceEntryRules(),
  WorkloadEntry: [
    { field: "spec.address", when: isUnixSocket, effect: "object", what: () => "a Unix socket" },
    { field: "spec.network", effect: "object" },
    { field: "spec.serviceAccount", effect: "field" },
  ],
  Quota: quotaRules(),
  EgressPolicy: egressRules(),
  EdgeSite: [],
  MeshConfig: [
    {
      field: "spec.outboundTrafficPolicy",
      when: oneOf("ALLOW_ANY"),
      effect: "field",
      what: named("outboundTrafficPolicy"),
      instead: "REGISTRY_ONLY holds",
    },
    { field: "spec.redis", effect: "field" },
  ],
};

export interface UnsupportedPart {
  readonly path: FieldPath;
  readonly message: string;
  /** Whether the whole object is refused. */
  readonly refused: boolean;
}

export interface Pruned {
  readonly parts: readonly UnsupportedPart[];
  /** The spec without the parts that are left out. */
  readonly spec: Json;
}

/** Finds what does not work yet in a valid spec, and takes out what can be taken out. */
export function pruneUnsupported(kind: KindName, spec: Json): Pruned {
  const parts: UnsupportedPart[] = [];
  const drops: FieldPath[] = [];
  for (const rule of UNSUPPORTED[kind]) {
    for (const { path, value, around } of select(spec, rule.field)) {
      if (isUnset(value) || (rule.when && !rule.when(value, around))) continue;
      const drop = droppedPath(rule, path);
      if (drop) drops.push(drop);
      parts.push({ path, message: describe(rule, path, value), refused: rule.effect === "object" });
    }
  }
  return { parts, spec: without(spec, drops) };
}

/** Empty lists and maps say what leaving the field out says. */
function isUnset(value: Json): boolean {
  return value !== null && typeof value === "object" && Object.keys(value).length === 0;
}

function droppedPath(rule: UnsupportedRule, path: FieldPath): FieldPath | undefined {
  if (rule.effect === "field") return path;
  if (typeof rule.effect === "string" || rule.effect.drop === undefined) return undefined;
  return path.slice(0, steps(rule.effect.drop).length);
}

function describe(rule: UnsupportedRule, path: FieldPath, value: Json): string {
  const what = rule.what ? rule.what(value) : String(path.at(-1));
  const instead = rule.instead ? `; ${rule.instead}` : "";
  switch (rule.effect) {
    case "object":
      return `${what} is not supported yet, so the object is refused`;
    case "field":
      return `${what} is not supported yet and is left out${instead}`;
    case "nothing":
      return `${what} is not supported yet and has no effect${instead}`;
    default:
      return `${what} is not supported yet, so ${rule.effect.name} is left out${instead}`;
  }
}

/** `spec.servers[].tls` → ["servers", "[]", "tls"], below spec. */
function steps(pattern: string): readonly string[] {
  return pattern.replaceAll("[]", ".[]").replaceAll("{}", ".{}").split(".").slice(1);
}

interface Selected {
  readonly path: FieldPath;
  readonly value: Json;
  readonly around: JsonMap;
}

function select(spec: Json, pattern: string): readonly Selected[] {
  let found: readonly Selected[] = [{ path: [], value: spec, around: {} }];
  for (const step of steps(pattern)) found = found.flatMap((at) => descend(at, step));
  return found;
}

function descend({ path, value, around }: Selected, step: string): readonly Selected[] {
  if (Array.isArray(value)) {
    return step === "[]" ? value.map((item: Json, index) => ({ path: [...path, index], value: item, around })) : [];
  }
  const map = mapOf(value);
  if (step === "{}") return Object.entries(map).map(([key, item]) => ({ path: [...path, key], value: item, around: map }));
  const item = map[step];
  return item === undefined ? [] : [{ path: [...path, step], value: item, around: map }];
}

function mapOf(value: Json): JsonMap {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? (value as JsonMap) : {};
}

function without(spec: Json, drops: readonly FieldPath[]): Json {
  if (drops.length === 0) return spec;
  const gone = new Set(drops.map((path) => JSON.stringify(path)));
  const copy = (value: Json, path: FieldPath): Json => {
    if (Array.isArray(value)) {
      return value.flatMap((item: Json, index) =>
        gone.has(JSON.stringify([...path, index])) ? [] : [copy(item, [...path, index])],
      );
    }
    if (value === null || typeof value !== "object") return value;
    const kept = Object.entries(value).filter(([key]) => !gone.has(JSON.stringify([...path, key])));
    return Object.fromEntries(kept.map(([key, item]) => [key, copy(item, [...path, key])]));
  };
  return copy(spec, []);
}
