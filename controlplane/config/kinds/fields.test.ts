/** Nothing is ignored in silence: every field of every schema either works or is told to be unsupported. */
import { expect, test } from "vitest";
import { fieldPatterns } from "../schema.ts";
import { UNSUPPORTED } from "../unsupported.ts";
import { KINDS, type KindName } from "./index.ts";

const MATCH = ["", ".exact", ".prefix", ".regex"];
const DESTINATION = [".host", ".subset", ".port", ".port.number"];
const HEADERS = [
  "",
  ...["request", "response"].flatMap((side) => ["", ".set", ".add", ".remove"].map((verb) => `.${side}${verb}`)),
];
const LIMIT = ["", ".name", ".requests", ".bytes", ".concurrent", ".per", ".window", ".burst", ".timeZone"];
const under = (path: string, rest: readonly string[]): string[] => rest.map((part) => path + part);

const httpMatch = (path: string): string[] => [
  path,
  ...under(`${path}[]`, [".name", ".ignoreUriCase", ".port", ".gateways"]),
  ...["uri", "scheme", "method", "authority"].flatMap((field) => under(`${path}[].${field}`, MATCH)),
  ...["headers", "withoutHeaders", "queryParams"].flatMap((field) => [
    `${path}[].${field}`,
    ...under(`${path}[].${field}{}`, MATCH.slice(1)),
  ]),
];
const l4 = (path: string, match: readonly string[]): string[] => [
  path,
  `${path}[].match`,
  ...under(`${path}[].match[]`, [".destinationSubnets", ".port", ".gateways", ...match]),
  ...under(`${path}[].route`, ["", "[].destination", "[].weight"]),
  ...under(`${path}[].route[].destination`, DESTINATION),
];
const perPort = (path: string): string[] => [
  ...under(`${path}.loadBalancer`, ["", ".simple", ".warmupDurationSecs"]),
  ...under(`${path}.loadBalancer.consistentHash`, ["", ".httpHeaderName", ".useSourceIp", ".httpQueryParameterName"]),
  ...under(`${path}.loadBalancer.consistentHash.httpCookie`, ["", ".name", ".path", ".ttl", ".attributes"]),
  ...under(`${path}.loadBalancer.consistentHash.httpCookie.attributes[]`, [".name", ".value"]),
  ...under(`${path}.loadBalancer.consistentHash`, [".ringHash", ".ringHash.minimumRingSize", ".minimumRingSize"]),
  ...under(`${path}.loadBalancer.consistentHash`, [".maglev", ".maglev.tableSize"]),
  ...under(`${path}.loadBalancer.localityLbSetting`, ["", ".enabled", ".failoverPriority"]),
  ...under(`${path}.loadBalancer.localityLbSetting`, [".distribute", ".distribute[].from", ".distribute[].to"]),
  ...under(`${path}.loadBalancer.localityLbSetting`, [".failover", ".failover[].from", ".failover[].to"]),
  ...under(`${path}.loadBalancer.warmup`, ["", ".duration", ".minimumPercent", ".aggression"]),
  ...under(`${path}.outlierDetection`, ["", ".consecutiveErrors", ".consecutive5xxErrors", ".consecutiveGatewayErrors"]),
  ...under(`${path}.outlierDetection`, [".splitExternalLocalOriginErrors", ".consecutiveLocalOriginFailures"]),
  ...under(`${path}.outlierDetection`, [".interval", ".baseEjectionTime", ".maxEjectionPercent", ".minHealthPercent"]),
  ...under(`${path}.connectionPool`, ["", ".tcp", ".tcp.maxConnections", ".tcp.connectTimeout", ".tcp.idleTimeout", ".http"]),
  ...under(`${path}.connectionPool.tcp`, [".maxConnectionDuration", ".tcpKeepalive", ".tcpKeepalive.probes"]),
  ...under(`${path}.connectionPool.tcp.tcpKeepalive`, [".time", ".interval"]),
  ...under(`${path}.connectionPool.http`, [".http2MaxRequests", ".maxRetries"]),
  ...under(`${path}.connectionPool.http`, [
    ".http1MaxPendingRequests",
    ".maxRequestsPerConnection",
    ".idleTimeout",
    ".maxConcurrentStreams",
    ".h2UpgradePolicy",
    ".useClientProtocol",
  ]),
  ...under(`${path}.tls`, ["", ".mode", ".caCertificates", ".subjectAltNames", ".sni", ".insecureSkipVerify"]),
  ...under(`${path}.tls`, [".clientCertificate", ".privateKey", ".credentialName", ".caCrl"]),
];
const trafficPolicy = (path: string): string[] => [
  path,
  ...perPort(path),
  ...under(`${path}.portLevelSettings`, ["", "[].port", "[].port.number"]),
  ...perPort(`${path}.portLevelSettings[]`),
  ...under(`${path}.retryBudget`, ["", ".percent", ".minRetryConcurrency"]),
  ...under(`${path}.proxyProtocol`, ["", ".version"]),
];

/** Fields that translation and the gateways carry out, below `spec`. A value of them may still be unsupported. */
const WORKS: { readonly [Kind in KindName]: readonly string[] } = {
  Gateway: [
    ".selector",
    ...under(".servers", ["", "[].port", "[].port.number", "[].port.protocol", "[].port.name", "[].bind", "[].hosts", "[].name"]),
    ...under(".servers[].tls", [
      "",
      ".httpsRedirect",
      ".mode",
      ".serverCertificate",
      ".privateKey",
      ".minProtocolVersion",
      ".maxProtocolVersion",
    ]),
    ...under(".servers[].tls", [".cipherSuites", ".insecureSkipVerify", ".caCertificates", ".caCrl", ".subjectAltNames"]),
    ...under(".servers[].tls", [".credentialName", ".credentialNames", ".caCertCredentialName"]),
    ...under(".servers[].tls", [".verifyCertificateSpki", ".verifyCertificateHash"]),
    ...under(".servers[].tls.tlsCertificates", ["", "[].serverCertificate", "[].privateKey", "[].caCertificates"]),
  ],
  VirtualService: [
    ...[".hosts", ".gateways", ".exportTo", ".http", ".http[].name", ".http[].timeout"],
    ...httpMatch(".http[].match"),
    ...l4(".tls", [".sniHosts"]),
    ...l4(".tcp", [".sourceSubnet"]),
    ...under(".http[].route", ["", "[].destination", "[].weight"]),
    ...under(".http[].route[].destination", DESTINATION),
    ...under(".http[].route[].headers", HEADERS),
    ...under(".http[].redirect", [
      "",
      ".uri",
      ".prefixRewrite",
      ".authority",
      ".port",
      ".derivePort",
      ".scheme",
      ".redirectCode",
    ]),
    ...under(".http[].directResponse", ["", ".status", ".body", ".body.string", ".body.bytes"]),
    ...under(".http[].rewrite", [
      "",
      ".uri",
      ".authority",
      ".uriRegexRewrite",
      ".uriRegexRewrite.match",
      ".uriRegexRewrite.rewrite",
    ]),
    ...under(".http[].retries", ["", ".attempts", ".perTryTimeout", ".retryOn", ".backoff"]),
    ...under(".http[].retries", [".retryIgnorePreviousHosts", ".retryRemoteLocalities"]),
    ...under(".http[].fault", ["", ".delay", ".delay.fixedDelay", ".abort", ".abort.httpStatus", ".abort.grpcStatus"]),
    ...["delay", "abort"].flatMap((kind) => under(`.http[].fault.${kind}`, [".percent", ".percentage", ".percentage.value"])),
    ...under(".http[].mirror", ["", ...DESTINATION]),
    ...under(".http[].mirrors", ["", "[].destination", "[].percentage", "[].percentage.value"]),
    ...under(".http[].mirrors[].destination", DESTINATION),
    ...[".http[].mirrorPercent", ".http[].mirrorPercentage", ".http[].mirrorPercentage.value"],
    ...under(".http[].corsPolicy", [
      "",
      ".allowOrigin",
      ".allowOrigins",
      ".allowMethods",
      ".allowHeaders",
      ".exposeHeaders",
      ".maxAge",
    ]),
    ...under(".http[].corsPolicy", [".allowCredentials", ".unmatchedPreflights"]),
    ...under(".http[].corsPolicy.allowOrigins[]", MATCH.slice(1)),
    ...under(".http[].headers", HEADERS),
  ],
  DestinationRule: [
    ...[".host", ".exportTo", ".subsets", ".subsets[].name", ".subsets[].labels"],
    ...trafficPolicy(".trafficPolicy"),
    ...trafficPolicy(".subsets[].trafficPolicy"),
  ],
  ServiceEntry: [
    ...[".hosts", ".location", ".resolution", ".exportTo", ".workloadSelector", ".workloadSelector.labels", ".subjectAltNames"],
    ...under(".ports", ["", "[].number", "[].protocol", "[].name", "[].targetPort"]),
    ...under(".endpoints", ["", "[].address", "[].ports", "[].labels", "[].locality", "[].weight"]),
  ],
  WorkloadEntry: [".address", ".ports", ".labels", ".locality", ".weight"],
  Quota: [
    ...under(".targets", ["", "[].kind", "[].name", "[].namespace", "[].route", "[].rule"]),
    ...httpMatch(".match"),
    ...under(".key", ["", "[].header", "[].query", "[].cookie", "[].identity", "[].pathVariable", "[].pathTemplate"]),
    ...under(".key[].clientIP", ["", ".v4Prefix", ".v6Prefix"]),
    ".limits",
    ...under(".limits[]", LIMIT.slice(1)),
    ...[".unit", ".cost", ".cost.header", ".cost.max", ".cost.default", ".overrides", ".overrides[].key", ".overrides[].limits"],
    ...under(".overrides[].limits[]", LIMIT.slice(1)),
    ...[
      ".whenKeyMissing",
      ".scope",
      ".accuracy",
      ".accuracy.bounded",
      ".onStoreFailure",
      ".onStoreFailure.local",
      ".mode",
      ".headers",
    ],
    ...under(".response", ["", ".status", ".body"]),
  ],
  EgressPolicy: [
    ...[".from", ".from[].proxyUser", ".from[].ipBlock", ".from[].edgeService", ".mode"],
    ...under(".allow", ["", "[].name", "[].hosts", "[].ports", "[].protocol", "[].methods", "[].paths", "[].limits"]),
    ...under(".allow[].originate", ["", ".tls"]),
    ...under(".allow[].inject", ["", "[].header", "[].fromSecret", "[].fromSecret.name", "[].fromSecret.key", "[].prefix"]),
    ...under(".allow[].addresses", ["", "[].cidr", "[].ports"]),
    ...under(".allow[].limits[]", LIMIT.slice(1)),
    ...under(".deny", ["", "[].hosts", "[].ports", "[].reason"]),
  ],
  EdgeSite: [
    ...[".url", ".audience", ".runtime", ".egress", ".quotaBank", ".cohort"],
    ...under(".gateways", ["", "[].name", "[].namespace"]),
    ...under(".clusters", ["", "[].name", "[].ingress", "[].via"]),
    ...under(".credentials", ["", ".fromSecret", ".fromSecret.name"]),
  ],
  MeshConfig: [
    ...[
      ".trustDomain",
      ".clusterName",
      ".rootNamespace",
      ".outboundTrafficPolicy",
      ".numTrustedProxies",
      ".explainHeaders",
      ".quotaHeaders",
    ],
    ...under(".forwardClientCert", ["", ".mode", ".cert", ".chain"]),
    ...under(".gatewayPools", ["", "[].name", "[].labels", "[].role", "[].bind", "[].ports", "[].forwardProxyPort"]),
    ...[".gatewayPools[].locality", ".gatewayPools[].proxyProtocol"],
    ...under(".healthChecks", ["", "[].hosts", "[].port", "[].tcp", "[].grpc", "[].grpc.service", "[].grpc.authority"]),
    ...under(".healthChecks[].http", ["", ".path", ".host", ".statuses"]),
    ...under(".healthChecks[]", [".interval", ".timeout", ".jitterPercent", ".unhealthyThreshold", ".healthyThreshold"]),
    ".healthChecks[].panicThreshold",
    ...under(".rollout", ["", ".cohorts", ".cohorts[].name", ".cohorts[].after"]),
    ...under(".accessLog", ["", ".enabled", ".path", ".format"]),
    ...[".snapshots", ".signatures"],
    ...["routes", "egress", "quota"].flatMap((section) => [
      ...under(`.snapshots.${section}`, ["", ".soft", ".hard", ".failMode"]),
      ...under(`.signatures.${section}`, ["", ".narrowing", ".widening"]),
    ]),
    ...under(".http", [
      "",
      ".maxRequestLine",
      ".maxHeaders",
      ".maxHeaderCount",
      ".maxRequestBody",
      ".headerTimeout",
      ".idleTimeout",
    ]),
    ...under(".http", [".streamIdleTimeout", ".requestTimeout", ".drainTimeout", ".maxReplay", ".maxConcurrentStreams"]),
    ...under(".http", [
      ".minBodyRate",
      ".bodyRateGrace",
      ".writeStallTimeout",
      ".maxConnectionDuration",
      ".maxRequestsPerConnection",
    ]),
    ...under(".proxyUsers", ["", ".file", ".realm"]),
  ],
};

/** Whether a rule takes out the field, or a part that holds it, whatever its value. */
function isRefused(kind: KindName, field: string): boolean {
  return UNSUPPORTED[kind].some(
    (rule) => !rule.when && (rule.field === field || new RegExp(`^${literally(rule.field)}[.[{]`).test(field)),
  );
}

const literally = (text: string): string => text.replaceAll(/[.[\]{}]/g, "\\$&");

test.each(KINDS.map(({ kind }) => kind as KindName))("%s: every field works or is told to be unsupported", (kind) => {
  const definition = KINDS.find((known) => known.kind === kind)!;
  const works = new Set(WORKS[kind].map((field) => `spec${field}`));
  const fields = fieldPatterns(definition);
  expect(fields.filter((field) => !works.has(field) && !isRefused(kind, field))).toEqual([]);
  expect([...works].filter((field) => !fields.includes(field))).toEqual([]);
  expect([...works].filter((field) => isRefused(kind, field))).toEqual([]);
});

test("every rule names a field that exists", () => {
  for (const definition of KINDS) {
    const fields = fieldPatterns(definition);
    const wrong = UNSUPPORTED[definition.kind as KindName].filter(
      ({ field }) => !fields.includes(field.replace(/(?:\[\]|\{\})$/, "")),
    );
    expect(wrong).toEqual([]);
  }
});
