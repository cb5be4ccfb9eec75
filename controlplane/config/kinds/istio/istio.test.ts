import { expect, test } from "vitest";
import { accepted, complaints, object, told, validate } from "../../test-objects.ts";
import { MAX_DURATION_MS, MAX_REGEX_LENGTH } from "../scalars.ts";
import { MAX_DIRECT_BODY_BYTES } from "./virtual-service.ts";

const server = (rest: string) => `{ servers: [{ port: { number: 443, protocol: HTTPS }, hosts: ["*"], ${rest} }] }`;
const vs = (route: string) => `{ hosts: [a.example.com], gateways: [g], http: [{ ${route} }] }`;
const to = "route: [{ destination: { host: a } }]";
const match = (condition: string) => vs(`match: [{ ${condition} }], ${to}`);
const policy = (fields: string) => `{ host: a.example.com, trafficPolicy: { ${fields} } }`;
const entry = (fields: string) => `{ hosts: [a.example.com], ports: [{ number: 80, name: http, protocol: HTTP }], ${fields} }`;

test.each([
  ["Gateway", "{ servers: [] }", ["error spec.servers: a Gateway needs at least one server"]],
  [
    "Gateway",
    server(""),
    ["error spec.servers[0]: protocol HTTPS needs tls; add tls with mode SIMPLE, serverCertificate and privateKey"],
  ],
  [
    "Gateway",
    server("tls: { mode: SIMPLE, serverCertificate: c }"),
    ["error spec.servers[0].tls: mode SIMPLE needs privateKey; write the path of a PEM file"],
  ],
  [
    "Gateway",
    server("tls: { mode: SIMPLE, credentialName: s, serverCertificate: c, privateKey: k }"),
    [
      "error spec.servers[0].tls: certificate files, credentialName, credentialNames and tlsCertificates exclude one another; keep one",
    ],
  ],
  ["Gateway", server("tls: { mode: MUTUAL, credentialName: s }"), []],
  [
    "Gateway",
    server("tls: { mode: ISTIO_MUTUAL }"),
    ["unsupported spec.servers[0].tls.mode: mode ISTIO_MUTUAL is not supported yet, so the server is left out"],
  ],
  [
    "Gateway",
    server("tls: { mode: SIMPLE, credentialName: s, cipherSuites: [RC4-SHA], caCrl: c, insecureSkipVerify: true }"),
    [
      expect.stringMatching(/^error .*cipherSuites\[0\]: "RC4-SHA" is no cipher suite that can be asked for; known are ECDHE-/),
      "warning spec.servers[0].tls.caCrl: caCrl is about clients' certificates, which mode SIMPLE does not ask for; use MUTUAL, or remove it",
      "warning spec.servers[0].tls.insecureSkipVerify: insecureSkipVerify is about clients' certificates, which mode SIMPLE does not ask for; use MUTUAL, or remove it",
    ],
  ],
  [
    "Gateway",
    server("tls: { mode: MUTUAL, credentialName: s, insecureSkipVerify: true, caCrl: c }"),
    [
      "error spec.servers[0].tls.insecureSkipVerify: insecureSkipVerify makes caCertificates, caCertCredentialName and caCrl meaningless; remove it or them",
    ],
  ],
  [
    "Gateway",
    server("tls: { mode: MUTUAL, credentialName: s, insecureSkipVerify: true }"),
    [expect.stringMatching(/^warning .*insecureSkipVerify: any certificate passes, so it says nothing/)],
  ],
  [
    "Gateway",
    server("tls: { mode: MUTUAL, credentialName: s, verifyCertificateHash: [xx], verifyCertificateSpki: [xx] }"),
    [
      expect.stringContaining("verifyCertificateSpki[0]: is not a SHA-256 in base64"),
      expect.stringContaining("verifyCertificateHash[0]: is not a SHA-256 in hex"),
    ],
  ],
  [
    "Gateway",
    server(
      "tls: { mode: SIMPLE, serverCertificate: c, privateKey: k, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2 }",
    ),
    [
      "error spec.servers[0].tls.minProtocolVersion: minProtocolVersion TLSV1_3 is above maxProtocolVersion TLSV1_2; no client could connect",
    ],
  ],
  [
    "Gateway",
    server("tls: { mode: SIMPLE, serverCertificate: c, privateKey: k, minProtocolVersion: TLSV1_0 }"),
    [
      "unsupported spec.servers[0].tls.minProtocolVersion: minProtocolVersion TLSV1_0 is not supported yet and is left out; TLS 1.2 is the lowest",
    ],
  ],
  [
    "Gateway",
    server("tls: { mode: MUTUAL, serverCertificate: c, privateKey: k }"),
    ["error spec.servers[0].tls: mode MUTUAL needs caCertificates; write the path of a PEM file with the clients' authorities"],
  ],
  [
    "Gateway",
    server("tls: { serverCertificate: c }"),
    [
      "warning spec.servers[0].tls: serverCertificate: no effect with mode PASSTHROUGH (which no mode means): TLS goes through as it comes; write mode: SIMPLE to end it here",
    ],
  ],
  [
    "Gateway",
    "{ servers: [{ port: { number: 80, protocol: http, name: a }, hosts: [x/*.a.b, 'X_/a', a.*.b, '', www.ünï.de], tls: { mode: SIMPLE } }, { port: { number: 0, protocol: HTTP }, bind: 1.2.3 }] }",
    [
      'error spec.servers[0].hosts[1]: "X_/a": "X_" is not a namespace; write "*", "." or a name before the "/"',
      'error spec.servers[0].hosts[2]: "a.*.b" has a wildcard that is not its first label; only a leading "*." is allowed, such as *.example.com',
      "error spec.servers[0].hosts[3]: the host is empty; write a name such as api.example.com",
      'error spec.servers[0].hosts[4]: "www.ünï.de" is not in ASCII; write the A-label "www.xn--n-nga1b.de" (RFC 5890)',
      "error spec.servers[1].hosts: the field is missing; it must be a list",
      "error spec.servers[1].port.number: 0 is out of range; it must be at least 1",
      'error spec.servers[1].bind: "1.2.3" is not an IP address; write for example 192.0.2.1 or 2001:db8::1',
    ],
  ],
  [
    "Gateway",
    "{ servers: [{ port: { number: 80, protocol: HTTP, name: a }, hosts: [a.b, a.b], name: n }, { port: { number: 81, protocol: HTTP, name: a }, hosts: [a.b], name: n }] }",
    [
      'error spec.servers[0].hosts[1]: the host "a.b" is listed twice; remove one',
      'error spec.servers[1].port.name: the name "a" is taken by servers[0]; names must differ within a Gateway',
      'error spec.servers[1].name: the name "n" is taken by servers[0]; names must differ within a Gateway',
    ],
  ],
  [
    "VirtualService",
    vs(`${to}, redirect: { uri: /x }`),
    ["error spec.http[0].redirect: route and redirect exclude one another; keep one of them"],
  ],
  ["VirtualService", vs("timeout: 1s"), ["error spec.http[0]: the route does nothing; add route, redirect or directResponse"]],
  [
    "VirtualService",
    vs("route: [{ destination: { host: a }, weight: 0 }, { destination: { host: b } }]"),
    ["error spec.http[0].route: the weights add up to zero, so no destination would get anything; give at least one a weight"],
  ],
  [
    "VirtualService",
    match("uri: {}"),
    ["error spec.http[0].match[0].uri: the match is empty; write one of exact, prefix or regex"],
  ],
  [
    "VirtualService",
    match('uri: { prefix: "" }'),
    ["error spec.http[0].match[0].uri.prefix: prefix is empty; write a value, or leave the match out to match everything"],
  ],
  [
    "VirtualService",
    match("uri: { exact: /a, prefix: /b }"),
    ["error spec.http[0].match[0].uri: exact and prefix exclude one another; keep one of them"],
  ],
  [
    "VirtualService",
    match("uri: { regex: '(?=a)' }"),
    [
      expect.stringMatching(
        /^error spec\.http\[0\]\.match\[0\]\.uri\.regex: "\(\?=a\)" is not an RE2 regex: .*Look-around and back-references do not exist/,
      ),
    ],
  ],
  [
    "VirtualService",
    match(`uri: { regex: ${"a".repeat(MAX_REGEX_LENGTH + 1)} }`),
    ["error spec.http[0].match[0].uri.regex: the regex has 1025 characters; at most 1024 are allowed"],
  ],
  [
    "VirtualService",
    match("headers: { X-A: {}, x-a: { exact: b }, 'a b': {} }"),
    [
      'error spec.http[0].match[0].headers.x-a: "x-a" is there already in another spelling; header names have no case',
      `error spec.http[0].match[0].headers["a b"]: "a b" is not a header name; letters, digits and !#$%&'*+-.^_\`|~ are allowed (RFC 9110 5.1)`,
    ],
  ],
  [
    "VirtualService",
    "{ hosts: ['*', x, x], http: [{ name: a, redirect: {} }, { name: a, redirect: {} }] }",
    [
      'error spec.hosts[0]: the host "*" on the mesh gateway would catch all traffic; name the hosts, or list gateways without mesh',
      "unsupported spec.hosts: the gateway mesh (sidecars), which holds where no gateways are listed, is not supported yet and has no effect",
      'error spec.hosts[2]: the host "x" is listed twice; remove one',
      'error spec.http[1].name: the route name "a" is taken by http[0]; names must differ',
    ],
  ],
  [
    "VirtualService",
    match("sourceLabels: { a: b }, headers: { '@request.auth.claims.sub': { exact: x } }"),
    [
      "error spec.http[0].match[0].sourceLabels: matching on sourceLabels is not supported yet, so the object is refused",
      "error spec.http[0].match[0].headers: matching on @request.auth claims is not supported yet, so the object is refused",
    ],
  ],
  [
    "VirtualService",
    "{ hosts: [a.b], gateways: [g], tcp: [{ match: [{ sourceNamespace: x }], route: [{ destination: { host: a } }] }] }",
    ["error spec.tcp[0].match[0].sourceNamespace: matching on sourceNamespace is not supported yet, so the object is refused"],
  ],
  [
    "VirtualService",
    `{ hosts: [a.b], gateways: [g, mesh], http: [{ ${to} }], tcp: [{ route: [{ destination: { host: a } }] }] }`,
    ["unsupported spec.gateways[1]: the gateway mesh (sidecars) is not supported yet and has no effect"],
  ],
  [
    "VirtualService",
    vs(`${to}, fault: { abort: { http2Error: CANCEL } }, retries: { retryOn: "5xx,retriable-headers" }`),
    [
      "unsupported spec.http[0].fault.abort.http2Error: http2Error is not supported yet, so the abort is left out",
      "unsupported spec.http[0].retries.retryOn: retriable-headers in retryOn is not supported yet and has no effect; there is no field that lists the headers, and the other conditions hold",
    ],
  ],
  [
    "VirtualService",
    vs(`${to}, fault: { abort: { grpcStatus: BUSY, percentage: { value: 1 } } }`),
    [expect.stringMatching(/^error spec\.http\[0\]\.fault\.abort\.grpcStatus: "BUSY" is not the status of a failed call; /)],
  ],
  [
    "VirtualService",
    vs(`${to}, retries: { attempts: 3, retryOn: "5xx,sometimes" }, timeout: 30d`),
    [
      expect.stringMatching(/^error spec\.http\[0\]\.retries\.retryOn: "sometimes" is not a retry condition; known are 5xx, /),
      "error spec.http[0].timeout: 30d is out of range; it must be between 0ms and 2147483647ms",
    ],
  ],
  [
    "VirtualService",
    vs(`directResponse: { status: 200, body: { string: ${"x".repeat(MAX_DIRECT_BODY_BYTES + 1)} } }`),
    [
      `error spec.http[0].directResponse.body: the body has ${MAX_DIRECT_BODY_BYTES + 1} bytes; at most ${MAX_DIRECT_BODY_BYTES} are allowed`,
    ],
  ],
  [
    "VirtualService",
    vs(`${to}, rewrite: {}, headers: { request: { set: { ":path": /x } }, response: { add: { a: "b\\r\\nc: d" } } }`),
    ["error spec.http[0].headers.response.add.a: a header value must not contain CR, LF or NUL (RFC 9110 5.5)"],
  ],
  [
    "VirtualService",
    vs(`${to}, rewrite: {}, headers: { request: { set: { ":path": /x, Host: h } } }`),
    [
      "error spec.http[0].rewrite: the rewrite is empty; write uri, uriRegexRewrite or authority",
      'error spec.http[0].headers.request.set.:path: ":path" cannot be changed here; only the request\'s host or :authority can be set',
    ],
  ],
  [
    "VirtualService",
    vs("delegate: { name: other }"),
    ["error spec.http[0].delegate: delegate is not supported yet, so the object is refused"],
  ],
  [
    "DestinationRule",
    policy("loadBalancer: { simple: ROUND_ROBIN, consistentHash: { useSourceIp: true } }"),
    ["error spec.trafficPolicy.loadBalancer.consistentHash: simple and consistentHash exclude one another; keep one of them"],
  ],
  [
    "DestinationRule",
    policy("loadBalancer: { consistentHash: { ringHash: {}, maglev: { tableSize: 65536 } } }"),
    [
      "error spec.trafficPolicy.loadBalancer.consistentHash: says not what is hashed; add httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
      "error spec.trafficPolicy.loadBalancer.consistentHash.maglev: ringHash and maglev exclude one another; keep one of them",
      "error spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize: 65536 is not a prime; 65537 is the next one",
    ],
  ],
  [
    "DestinationRule",
    policy("loadBalancer: { consistentHash: { useSourceIp: true, httpHeaderName: x }, warmup: { duration: 1m } }"),
    [
      "error spec.trafficPolicy.loadBalancer.consistentHash: httpHeaderName and useSourceIp exclude one another; keep one of them",
      "warning spec.trafficPolicy.loadBalancer.warmup: has no effect with consistentHash, where an endpoint has its keys at once; remove one of them",
    ],
  ],
  [
    "DestinationRule",
    policy(
      "loadBalancer: { localityLbSetting: { distribute: [{ from: a, to: { b: 60, c: 0 } }], failover: [{ from: a, to: a }, { from: a/b, to: c }], zoneAwareLbSetting: { minClusterSize: 3 } } }",
    ),
    [
      "error spec.trafficPolicy.loadBalancer.localityLbSetting.distribute: distribute excludes failover and failoverPriority; keep one of them",
      "error spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to: the shares sum to 60; they have to sum to 100",
      "error spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to.c: a share of 0 is no share; leave the locality out",
      "error spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to: a fails over to itself; name another region",
      'error spec.trafficPolicy.loadBalancer.localityLbSetting.failover[1].from: "a/b" is more than a region; write the region alone',
      "unsupported spec.trafficPolicy.loadBalancer.localityLbSetting.zoneAwareLbSetting: zoneAwareLbSetting is not supported yet and is left out; requests go to the nearest, see failover",
    ],
  ],
  [
    "DestinationRule",
    policy("tls: { mode: MUTUAL, clientCertificate: c }"),
    ["error spec.trafficPolicy.tls: mode MUTUAL needs privateKey; write the path of a PEM file, or use credentialName"],
  ],
  [
    "DestinationRule",
    policy("tls: { mode: MUTUAL, credentialName: s, caCertificates: c }"),
    [
      "error spec.trafficPolicy.tls.credentialName: credentialName stands for files, so caCertificates cannot be given with it; remove one or the other",
    ],
  ],
  [
    "DestinationRule",
    policy("tls: { mode: SIMPLE, privateKey: k, insecureSkipVerify: true, caCrl: c }"),
    [
      "warning spec.trafficPolicy.tls.privateKey: privateKey is for mode MUTUAL; mode SIMPLE shows no certificate",
      "error spec.trafficPolicy.tls.insecureSkipVerify: insecureSkipVerify makes caCrl meaningless; remove one of them",
    ],
  ],
  [
    "DestinationRule",
    policy("tls: { mode: SIMPLE, insecureSkipVerify: true }"),
    [
      "warning spec.trafficPolicy.tls.insecureSkipVerify: the server's certificate is not checked, so anybody can pose as it; name its authority in caCertificates instead",
    ],
  ],
  [
    "DestinationRule",
    "{ host: a, subsets: [{ name: v1 }, { name: v1 }], trafficPolicy: { portLevelSettings: [{ port: { number: 80 } }, { port: { number: 80 } }] } }",
    [
      'error spec.subsets[1].name: the subset "v1" is defined already by subsets[0]; names must differ',
      "error spec.trafficPolicy.portLevelSettings[1].port.number: port 80 has settings already; merge the two",
    ],
  ],
  [
    "ServiceEntry",
    "{ hosts: ['*'], ports: [{ number: 80, name: a }, { number: 80, name: a }], addresses: [10.0.0.1/8] }",
    ['error spec.addresses[0]: "10.0.0.1/8" is not canonical; write 10.0.0.0/8'],
  ],
  [
    "ServiceEntry",
    "{ hosts: ['*'], ports: [{ number: 80, name: a }, { number: 80, name: a }] }",
    [
      'error spec.hosts[0]: the host "*" is not a service; name the hosts, or use a leading wildcard such as *.example.com',
      "error spec.ports[1].number: port 80 is defined already by ports[0]; numbers must differ",
      'error spec.ports[1].name: the port name "a" is taken by ports[0]; names must differ',
    ],
  ],
  [
    "ServiceEntry",
    entry("resolution: STATIC, endpoints: [{ address: a.b }, { ports: { htp: 8080 } }], workloadSelector: { labels: { a: b } }"),
    [
      'error spec.endpoints[0].address: "a.b" is a name; with resolution STATIC write an IP address, or use resolution DNS',
      "error spec.endpoints[1].address: the address is missing; write an IP address or, with resolution DNS, a host name",
      'error spec.endpoints[1].ports.htp: there is no port named "htp" under spec.ports; declared are http',
      "error spec.workloadSelector: endpoints and workloadSelector exclude one another; keep one of them",
    ],
  ],
  [
    "ServiceEntry",
    entry("resolution: DYNAMIC_DNS"),
    ["error spec.resolution: resolution DYNAMIC_DNS is not supported yet, so the object is refused"],
  ],
  ["WorkloadEntry", "{ address: 2001:DB8::1 }", ['error spec.address: "2001:DB8::1" is not canonical; write "2001:db8::1"']],
  [
    "WorkloadEntry",
    "{ address: 1.2.3.4, network: n }",
    ["error spec.network: network is not supported yet, so the object is refused"],
  ],
])("%s %s", (kind, spec, expected) => {
  const found = complaints(kind, spec);
  expect(found).toHaveLength(expected.length);
  expect(found).toEqual(expect.arrayContaining(expected));
});

test("a bookinfo VirtualService and DestinationRule load unchanged, with every default filled in", () => {
  const text = `apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
    - reviews
  gateways:
    - bookinfo-gateway
  http:
  - match:
    - headers:
        end-user:
          exact: jason
    fault:
      delay:
        percentage:
          value: 100.0
        fixedDelay: 7s
    route:
    - destination:
        host: reviews
        subset: v2
  - route:
    - destination:
        host: reviews
        subset: v1
      weight: 50
    - destination:
        host: reviews
        subset: v3
      weight: 50
    timeout: 0.5s
    retries:
      attempts: 3
      perTryTimeout: 2s
      retryOn: gateway-error,connect-failure,503
    mirror:
      host: reviews
      subset: v2
    mirrorPercentage:
      value: 12.5
---
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata:
  name: reviews
spec:
  host: reviews
  trafficPolicy:
    loadBalancer:
      simple: LEAST_CONN
    connectionPool:
      tcp:
        maxConnections: 100
        connectTimeout: 30ms
  subsets:
  - name: v1
    labels:
      version: v1
    trafficPolicy:
      loadBalancer:
        simple: ROUND_ROBIN
  - name: v2
    labels:
      version: v2
`;
  const validation = validate(text);
  expect(told(validation)).toEqual([]);
  const [routes, rule] = validation.objects.map(({ resource }) => resource);
  if (routes?.kind !== "VirtualService" || rule?.kind !== "DestinationRule") throw new Error("refused");
  const [first, second] = routes.spec.http;
  expect(first?.match[0]?.headers).toEqual({ "end-user": { kind: "exact", value: "jason" } });
  expect(first?.fault?.delay).toEqual({ fixedDelay: 7000, percentage: 100 });
  expect(first?.route.map(({ weight }) => weight)).toEqual([100]);
  expect(second).toMatchObject({
    timeout: 500,
    retries: { attempts: 3, perTryTimeout: 2000, retryOn: ["gateway-error", "connect-failure", 503] },
  });
  expect(second?.mirrors).toEqual([{ destination: { host: "reviews", subset: "v2" }, percentage: 12.5 }]);
  expect(routes.spec.exportTo).toEqual(["*"]);
  expect(rule.spec.trafficPolicy?.loadBalancer?.simple).toBe("LEAST_REQUEST");
  expect(rule.spec.trafficPolicy?.connectionPool?.tcp).toEqual({ maxConnections: 100, connectTimeout: 30 });
});

test("hosts of servers keep their namespace", () => {
  expect(
    accepted(
      "Gateway",
      "{ servers: [{ port: { number: 80, protocol: HTTP }, hosts: [shop/*.example.com, ./a.example.com, b.example.com] }] }",
    ),
  ).toMatchObject({
    selector: {},
    servers: [
      {
        hosts: [
          { namespace: "shop", host: "*.example.com" },
          { namespace: ".", host: "a.example.com" },
          { namespace: "*", host: "b.example.com" },
        ],
      },
    ],
  });
});

test("a percentage that is not set is none, of a mirror all", () => {
  const spec = accepted(
    "VirtualService",
    vs(`${to}, fault: { abort: { httpStatus: 500 } }, mirrors: [{ destination: { host: b } }]`),
  );
  expect(spec).toMatchObject({
    http: [{ fault: { abort: { httpStatus: 500, percentage: 0 } }, mirrors: [{ percentage: 100 }] }],
  });
});

test("what is left out is not in the spec; the rest keeps its place", () => {
  const spec = accepted(
    "Gateway",
    "{ servers: [{ port: { number: 1, protocol: HTTP }, hosts: ['*'], bind: 'unix://x' }, { port: { number: 80, protocol: HTTP }, hosts: ['*'] }] }",
  );
  expect(spec).toMatchObject({ servers: [{ port: { number: 80 } }] });
});

test("the longest duration is what timers keep", () => {
  expect(accepted("VirtualService", vs(`${to}, timeout: ${MAX_DURATION_MS}ms`))).toMatchObject({
    http: [{ timeout: MAX_DURATION_MS }],
  });
});

test("an object without a spec says what is missing", () => {
  expect(told(validate(object("Gateway", "")))).toEqual([
    "error a.yaml:4:7: Gateway default/x: spec.servers: the field is missing; it must be a list",
  ]);
});
