import { expect, test } from "vitest";
import { accepted, complaints, told, validate } from "../../test-objects.ts";
import { MAX_WINDOW_MS } from "./common.ts";
import { DEFAULT_MESH_CONFIG } from "./mesh-config.ts";

const quota = (fields: string) => `{ targets: [{ kind: Host, name: a.example.com }], ${fields} }`;
const limit = "limits: [{ requests: 1, per: 1s }]";
const allow = (fields: string) => `{ from: [{ proxyUser: u }], allow: [{ hosts: [a.example.com], ${fields} }] }`;

const QUOTA = `apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: reviews-per-user, namespace: bookinfo }
spec:
  targets:
    - { kind: VirtualService, name: bookinfo, route: reviews }
  match: [ { method: { exact: POST }, uri: { prefix: /v1/ } } ]
  key: [ { header: X-User }, { clientIP: { v6Prefix: 64 } } ]
  limits:
    - { name: burst, requests: 20, per: 1s }
    - { name: daily, requests: 5000, per: 1d, window: calendar, timeZone: Europe/Zurich }
  cost: 1
  unit: requests
  overrides: [ { key: { x-user: jason }, limits: [ { name: burst, requests: 200, per: 1s } ] } ]
  whenKeyMissing: share
  scope: local
  accuracy: strict
  onStoreFailure: { local: 25% }
  mode: enforce
  headers: both
  response: { status: 429, body: "..." }
`;

test("the documented Quota loads", () => {
  const validation = validate(QUOTA);
  expect(told(validation)).toEqual([]);
  const [only] = validation.objects;
  if (only?.resource?.kind !== "Quota") throw new Error("refused");
  expect(only.resource.spec).toMatchObject({
    key: [
      { kind: "header", name: "x-user" },
      { kind: "clientIp", v4Prefix: 32, v6Prefix: 64 },
    ],
    limits: [
      { name: "burst", unit: "requests", amount: 20, per: 1000, window: "rolling" },
      { name: "daily", amount: 5000, per: 86_400_000, window: "calendar", timeZone: "Europe/Zurich", calendarUnit: "day" },
    ],
    onStoreFailure: { local: 25 },
  });
});

test("the documented EgressPolicy loads; identities are told to be unsupported", () => {
  const validation = validate(`apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: payments, namespace: shop }
spec:
  from:
    - { serviceAccount: payments }
    - { proxyUser: payments }
    - { ipBlock: 127.0.0.0/8 }
    - { edgeService: checkout }
  mode: enforce
  allow:
    - name: stripe
      hosts: [ api.stripe.com ]
      ports: [ 443 ]
      protocol: https
      methods: [ GET, POST ]
      paths: [ /v1/* ]
      originate: { tls: SIMPLE }
      inject: [ { header: authorization, fromSecret: { name: stripe, key: token }, prefix: "Bearer " } ]
      addresses: [ { cidr: 10.20.0.0/24, ports: [ 8443 ] } ]
      limits: [ { requests: 50, per: 1s } ]
    - { name: files, hosts: [ files.example.com ], protocol: http, paths: [ /v1/*, /v2 ] }
  deny: [ { hosts: [ "*.pastebin.example" ], reason: "no paste sites" } ]
`);
  expect(told(validation)).toEqual([
    "unsupported a.yaml:6:25: EgressPolicy shop/payments: spec.from[0].serviceAccount: identity by serviceAccount is not supported yet, so the caller is left out",
  ]);
  const [only] = validation.objects;
  if (only?.resource?.kind !== "EgressPolicy") throw new Error("refused");
  expect(only.resource.spec).toMatchObject({
    from: [
      { kind: "proxyUser", value: "payments" },
      { kind: "ipBlock", value: "127.0.0.0/8" },
      { kind: "edgeService", value: "checkout" },
    ],
    allow: [
      {
        name: "stripe",
        originate: { tls: "SIMPLE" },
        inject: [{ header: "authorization", fromSecret: { name: "stripe", key: "token" }, prefix: "Bearer " }],
      },
      {
        name: "files",
        ports: [80],
        paths: [
          { kind: "prefix", value: "/v1/" },
          { kind: "exact", value: "/v2" },
        ],
      },
    ],
    deny: [{ hosts: ["*.pastebin.example"], ports: [], reason: "no paste sites" }],
  });
});

test("an empty MeshConfig is every default; a short one changes what it says", () => {
  expect(accepted("MeshConfig", "{}")).toEqual(DEFAULT_MESH_CONFIG);
  expect(DEFAULT_MESH_CONFIG.gatewayPools).toEqual([
    {
      name: "ingress",
      role: "ingress",
      labels: { istio: "ingressgateway", app: "istio-ingressgateway" },
      bind: "127.0.0.1",
      ports: { "80": 8080, "443": 8443 },
    },
    {
      name: "egress",
      role: "egress",
      labels: { istio: "egressgateway", app: "istio-egressgateway" },
      bind: "127.0.0.1",
      ports: { "80": 8080, "443": 8443 },
      forwardProxyPort: 3128,
    },
  ]);
  expect(
    accepted(
      "MeshConfig",
      "{ http: { maxHeaders: 64KiB }, signatures: { egress: { widening: 2 } }, snapshots: { routes: { hard: 7d } } }",
    ),
  ).toEqual({
    ...DEFAULT_MESH_CONFIG,
    http: { ...DEFAULT_MESH_CONFIG.http, maxHeaders: 65_536 },
    signatures: { ...DEFAULT_MESH_CONFIG.signatures, egress: { narrowing: 1, widening: 2 } },
    snapshots: { ...DEFAULT_MESH_CONFIG.snapshots, routes: { soft: 3_600_000, hard: 604_800_000, failMode: "keep" } },
  });
});

test.each([
  [
    "Quota",
    "{ targets: [], limits: [] }",
    [
      "error spec.targets: at least one target is needed; name what the quota protects",
      "error spec.limits: at least one limit is needed, such as { requests: 20, per: 1s }",
    ],
  ],
  [
    "Quota",
    quota(
      "limits: [{ per: 1s }, { requests: 1, bytes: 1KiB, per: 1s }, { requests: 1 }, { requests: 1, per: day }, { requests: 1, per: 2d, window: calendar }]",
    ),
    [
      "error spec.limits[0]: the limit has no amount; write requests, bytes or concurrent",
      "error spec.limits[1].bytes: requests and bytes exclude one another; keep one of them",
      "error spec.limits[2].per: the window is missing; write for example per: 1s",
      'error spec.limits[3].per: "day" is a calendar window; add window: calendar, or write a duration such as 1d',
      'error spec.limits[4].per: "2d" is not a calendar window; write 1m, 1h, 1d, 7d (weeks from Monday), month or year',
    ],
  ],
  [
    "Quota",
    quota(`limits: [{ requests: 1, per: ${MAX_WINDOW_MS + 1}ms }, { requests: 1, per: 50ms }]`),
    [
      "error spec.limits[0].per: 31622400001ms is out of range; it must be between 100ms and 366d",
      "error spec.limits[1].per: 50ms is out of range; it must be between 100ms and 366d",
    ],
  ],
  [
    "Quota",
    quota("limits: [{ requests: 1, per: 1s, burst: 2 }, { requests: 1, per: 1s, timeZone: UTC }, { concurrent: 1, per: 1s }]"),
    [
      "error spec.limits[0].burst: burst belongs to window: smooth; remove it, or set the window",
      "error spec.limits[1].timeZone: timeZone belongs to window: calendar; remove it, or set the window",
      "error spec.limits[2].per: per has no meaning for concurrent requests; remove it",
    ],
  ],
  [
    "Quota",
    quota(
      "limits: [{ requests: 1, per: 1d, window: calendar, timeZone: Europe/Zurch }, { requests: 1, per: 1d, window: calendar, timeZone: '+02:00' }]",
    ),
    [
      'error spec.limits[0].timeZone: "Europe/Zurch" is not an IANA time zone; write for example Europe/Zurich or UTC',
      'error spec.limits[1].timeZone: "+02:00" is not an IANA time zone; write for example Europe/Zurich or UTC',
    ],
  ],
  [
    "Quota",
    quota("limits: [{ name: a, requests: 1, per: 1s }, { name: a, requests: 2, per: 1h }]"),
    ['error spec.limits[1].name: the limit "a" is defined already at index 0; names must differ'],
  ],
  [
    "Quota",
    quota(`unit: bytes, ${limit}`),
    ["error spec.limits[0].requests: the quota's unit is bytes, this limit counts requests; write bytes, or set unit: requests"],
  ],
  [
    "Quota",
    quota(
      `${limit}, key: [{}, { header: a, query: b }, { pathVariable: u }, { pathVariable: u, pathTemplate: "/a/{v}" }, { pathVariable: u, pathTemplate: "/a{u}" }]`,
    ),
    [
      "error spec.key[0]: the key part is empty; write one of header, query, cookie, clientIP, identity, jwtClaim, pathVariable",
      "error spec.key[1]: header and query are two key parts; write each as an item of its own",
      "error spec.key[2].pathTemplate: pathVariable needs pathTemplate, such as /users/{u}/*",
      'error spec.key[3].pathTemplate: "/a/{v}" must contain {u} exactly once',
      'error spec.key[4].pathTemplate: "/a{u}" is not a path template; it starts with "/", a {variable} fills a whole segment, and "*" may only be the last one',
    ],
  ],
  [
    "Quota",
    quota(
      `limits: [{ name: a, requests: 1, per: 1s }], key: [{ header: u }, { query: q }], overrides: [{ key: { u: x }, limits: [] }, { key: { u: x, q: y }, limits: [] }, { key: { q: z }, limits: [{ name: b, requests: 2, per: 1s }] }, { key: { w: x }, limits: [] }, { key: {}, limits: [] }]`,
    ),
    [
      "error spec.overrides[1].key: overrides[0] fits whatever this fits, so this one is never used; remove it, or put it first",
      "warning spec.overrides[2].key: a request can fit this and overrides[0], which then wins; order them on purpose",
      'error spec.overrides[2].limits[0].name: there is no limit named "b" to override; named are a',
      'error spec.overrides[3].key.w: "w" is not a part of spec.key; known are u, q',
      "warning spec.overrides[3].key: a request can fit this and overrides[0], which then wins; order them on purpose",
      "error spec.overrides[4].key: the key is empty, so the override would apply to everybody; change spec.limits instead",
      "warning spec.overrides[4].key: a request can fit this and overrides[0], which then wins; order them on purpose",
    ],
  ],
  [
    "Quota",
    quota(`${limit}, scope: cluster`),
    ["error spec.scope: scope cluster is not supported yet, so the object is refused"],
  ],
  [
    "Quota",
    quota("scope: global, unit: concurrent, limits: [{ concurrent: 1 }, { name: b, concurrent: 2 }]"),
    ["error spec.unit: requests in flight cannot be counted out of leases; write scope: local"],
  ],
  [
    "Quota",
    quota(
      "scope: global, key: [{ header: u }], limits: [{ name: a, requests: 100, per: 500ms }, { name: b, requests: 100, per: 1s, window: smooth, burst: 30 }], overrides: [{ key: { u: x }, limits: [{ name: b, requests: 1000, per: 1s, window: smooth, burst: 40 }] }]",
    ),
    [
      "error spec.limits[0].per: a global window has at least 1000 ms, because leases have to outlive the way to the bank; write per: 1s, or scope: local",
      "error spec.limits[1].burst: a burst of 30 refills before a lease of 250 ms has ended, so the rate cannot be kept; write burst: 50 or more, window: rolling, or accuracy: bestEffort",
      "error spec.overrides[0].limits[0].burst: a burst of 40 refills before a lease of 250 ms has ended, so the rate cannot be kept; write burst: 500 or more, window: rolling, or accuracy: bestEffort",
    ],
  ],
  [
    "Quota",
    quota(`${limit}, key: [{ jwtClaim: sub }]`),
    ["error spec.key[0].jwtClaim: a jwtClaim key is not supported yet, so the object is refused"],
  ],
  [
    "Quota",
    quota(`${limit}, accuracy: { bounded: 5 }, onStoreFailure: { local: 200% }, cost: x, headers: al`),
    [
      "error spec.accuracy.bounded: 5 is not allowed here; it must be text (a percentage such as 5%)",
      'error spec.onStoreFailure.local: "200%" is not a percentage between 0% and 100%; write for example 25%',
      'error spec.cost: "x" is not allowed here; it must be a number or a map',
      'error spec.headers: "al" is not allowed here; it must be draft, legacy, both or none',
    ],
  ],
  [
    "Quota",
    "{ targets: [{ kind: Gateway, name: g, route: r }, { kind: Host, name: 'a.*.b', rule: x }], limits: [{ requests: 1, per: 1s }] }",
    [
      "error spec.targets[0].route: route belongs to kind VirtualService, this target is a Gateway; remove it",
      "error spec.targets[1].rule: rule belongs to kind EgressRule, this target is a Host; remove it",
      'error spec.targets[1].name: "a.*.b" has a wildcard that is not its first label; only a leading "*." is allowed, such as *.example.com',
    ],
  ],
  [
    "EgressPolicy",
    "{ from: [{ proxyUser: u }], allow: [{ hosts: ['*', '*.com', '*.github.io', Foo.com, foo.com., münchen.de, '127.1', '0x7f000001', '*.1.2.3.4', '[2001:db8::0:4]', '*.example.com', 1.2.3.4, '[2001:db8::4]'] }] }",
    [
      'error spec.allow[0].hosts[0]: the host "*" is not allowed here; name the hosts, or use a leading wildcard such as *.example.com',
      'error spec.allow[0].hosts[1]: "*.com" would cover everybody who registers a name under the public suffix "com"; name the domain, such as *.example.com',
      'error spec.allow[0].hosts[2]: "*.github.io" would cover everybody who registers a name under the public suffix "github.io"; name the domain, such as *.example.github.io',
      'error spec.allow[0].hosts[3]: "Foo.com" has upper case letters; write "foo.com"',
      'error spec.allow[0].hosts[4]: "foo.com." ends with a dot; write "foo.com"',
      'error spec.allow[0].hosts[5]: "münchen.de" is not in ASCII; write the A-label "xn--mnchen-3ya.de" (RFC 5890)',
      'error spec.allow[0].hosts[6]: "127.1" is neither a host name nor an IP address in its usual form (1.2.3.4 or 2001:db8::4)',
      'error spec.allow[0].hosts[7]: "0x7f000001" is neither a host name nor an IP address in its usual form (1.2.3.4 or 2001:db8::4)',
      'error spec.allow[0].hosts[8]: "*.1.2.3.4" puts a wildcard over an address; list the addresses',
      'error spec.allow[0].hosts[9]: "[2001:db8::0:4]" is not canonical; write "[2001:db8::4]"',
    ],
  ],
  [
    "EgressPolicy",
    allow("methods: [get], paths: [v1, /a*, '/x?y', /v1/*/z]"),
    [
      'error spec.allow[0].methods[0]: methods are case-sensitive (RFC 9110 9.1); write "GET"',
      'error spec.allow[0].paths[0]: "v1" is not a path; write an exact path such as /v1/charges, or what lies under one as /v1/*',
      'error spec.allow[0].paths[1]: "/a*" is not a path; write an exact path such as /v1/charges, or what lies under one as /v1/*',
      'error spec.allow[0].paths[2]: "/x?y" has a query or fragment; write the path alone',
      'error spec.allow[0].paths[3]: "/v1/*/z" is not a path; write an exact path such as /v1/charges, or what lies under one as /v1/*',
    ],
  ],
  [
    "EgressPolicy",
    allow("methods: [GET]"),
    [
      "error spec.allow[0].methods: the gateway does not see requests inside https; remove methods, or use protocol http, or https with originate",
    ],
  ],
  [
    "EgressPolicy",
    "{ from: [{ proxyUser: u }], allow: [{ hosts: ['*.example.com'], originate: { tls: SIMPLE }, inject: [{ header: Host, fromSecret: { name: s, key: k } }, { header: X-Key, fromSecret: { name: s, key: k } }, { header: x-key, fromSecret: { name: s, key: k } }] }] }",
    [
      'error spec.allow[0].inject[2]: the header "x-key" is listed twice; remove one',
      "error spec.allow[0].inject[0].header: host says how a message travels, which is the gateway's to write; a credential goes in a field such as authorization",
      "warning spec.allow[0].hosts[0]: every name below example.com gets the credential; list the hosts that it is for",
    ],
  ],
  [
    "EgressPolicy",
    allow("protocol: http, inject: [{ header: x-key, fromSecret: { name: s, key: k } }]"),
    [
      "warning spec.allow[0].inject: the credential goes over the network in the clear; use protocol https with originate where the host has TLS",
    ],
  ],
  ["EgressPolicy", allow("protocol: tcp"), ["error spec.allow[0].ports: protocol tcp has no default port; list the ports"]],
  [
    "EgressPolicy",
    "{ from: [{ ipBlock: 10.1.2.3/8 }, {}, { proxyUser: a, ipBlock: 10.0.0.0/8 }, { ipBlock: 10.0.0.1 }], deny: [{ hosts: ['*.com'] }] }",
    [
      'error spec.from[0].ipBlock: "10.1.2.3/8" is not canonical; write 10.0.0.0/8',
      "error spec.from[1]: the caller is empty; write one of serviceAccount, proxyUser, ipBlock, edgeService",
      "error spec.from[2]: proxyUser and ipBlock are two callers; write each as an item of its own (any of them may call)",
      'error spec.from[3].ipBlock: "10.0.0.1" has no prefix length; for this one address write 10.0.0.1/32',
    ],
  ],
  [
    "EgressPolicy",
    "{ mode: learn, from: [{ ipBlock: 0.0.0.0/0 }], allow: [{ hosts: [a.b], name: r }, { hosts: [a.b, a.b], name: r }], deny: [{ hosts: [] }] }",
    [
      "warning spec.from[0].ipBlock: 0.0.0.0/0 is everybody who reaches the gateway; name the networks of the callers",
      'error spec.allow[1].hosts[1]: the host "a.b" is listed twice; remove one',
      'error spec.allow[1].name: the rule "r" is defined already by allow[0]; names must differ',
      'error spec.deny[0].hosts: the deny names no host; list the hosts, or "*" for all',
    ],
  ],
  [
    "MeshConfig",
    "{ gatewayPools: [{ name: a, ports: { 80: 8080, 81: 8080 }, forwardProxyPort: 1 }, { name: a }], signatures: { egress: { narrowing: 2 } }, snapshots: { quota: { soft: 2d, hard: 1d } }, outboundTrafficPolicy: ALLOW_ANY, redis: { address: x } }",
    [
      "error spec.gatewayPools[0].forwardProxyPort: forwardProxyPort belongs to role egress; remove it",
      "error spec.gatewayPools[0].ports.81: port 8080 is where declared port 80 is bound already; choose another".replace(
        ".81",
        '["81"]',
      ),
      'error spec.gatewayPools[1].name: the pool "a" is defined already by gatewayPools[0]; names must differ',
      "error spec.signatures.egress.narrowing: narrowing needs more signatures than widening; it may need fewer, not more",
      "error spec.snapshots.quota.soft: soft is longer than hard; the alarm must come before the fail mode",
      "unsupported spec.outboundTrafficPolicy: outboundTrafficPolicy ALLOW_ANY is not supported yet and is left out; REGISTRY_ONLY holds",
      "unsupported spec.redis: redis is not supported yet and is left out",
    ],
  ],
  [
    "MeshConfig",
    "{ healthChecks: [{ hosts: [a.test] }, { hosts: [a.test, b.test], http: { statuses: [200-199] }, tcp: {} }, { hosts: [c.test], http: { statuses: [2xx] } }] }",
    ["error spec.healthChecks[2].http.statuses[0]: write a status such as 200, or a range such as 200-299"],
  ],
  [
    "MeshConfig",
    "{ healthChecks: [{ hosts: [a.test] }, { hosts: [a.test, b.test], http: { statuses: [299-200] }, tcp: {} }], gatewayPools: [{ name: a }] }",
    [
      "error spec.healthChecks[0]: says not how to ask; add http, tcp or grpc",
      "error spec.healthChecks[1]: http and tcp exclude one another; keep one of them",
      "error spec.healthChecks[1].http.statuses[0]: the range 299-200 is empty; write the smaller status first",
      "warning spec.healthChecks[1].hosts[0]: healthChecks[0] has a.test already, and the first one holds; remove one",
    ],
  ],
  [
    "MeshConfig",
    "{ gatewayPools: [{ name: a, locality: eu/* }] }",
    ["error spec.gatewayPools[0].locality: a locality is written region/zone/subzone, such as eu-west/a"],
  ],
  [
    "MeshConfig",
    "{ rollout: { cohorts: [{ name: canary }, { name: canary, after: 2h }] } }",
    [
      'error spec.rollout.cohorts[1].name: the cohort "canary" is defined already by cohorts[0]; names must differ',
      "error spec.rollout.cohorts[1].after: after is as long as a soft age of snapshots, so sites that wait would alarm; make it shorter",
    ],
  ],
  [
    "MeshConfig",
    "{ http: { maxHeaders: 64KB5, maxRequestLine: 1 }, trustDomain: Cluster.local }",
    [
      'error spec.http.maxHeaders: "64KB5" is not a size; write a number and a unit (B, KiB, MiB, GiB, KB, MB, GB), such as 64KiB',
      "error spec.http.maxRequestLine: 1 is out of range; it must be between 256 and 1048576 bytes",
      'error spec.trustDomain: "Cluster.local" has upper case letters; write "cluster.local"',
    ],
  ],
])("%s %s", (kind, spec, expected) => {
  const found = complaints(kind, spec);
  expect(found).toHaveLength(expected.length);
  expect(found).toEqual(expect.arrayContaining(expected));
});

test("windows, units and defaults of limits", () => {
  const spec = quota(
    "limits: [{ requests: 5, per: 1m, window: smooth }, { requests: 5, per: 7d, window: calendar }, { requests: 5, per: month, window: calendar, timeZone: UTC }]",
  );
  expect(accepted("Quota", spec)).toMatchObject({
    limits: [
      { name: "limit-1", window: "smooth", burst: 5, per: 60_000 },
      { name: "limit-2", calendarUnit: "week", timeZone: "UTC" },
      { name: "limit-3", calendarUnit: "month" },
    ],
    cost: 1,
    whenKeyMissing: "share",
    accuracy: "strict",
    onStoreFailure: { local: 25 },
    mode: "enforce",
    response: { status: 429 },
  });
  expect(accepted("Quota", quota("unit: concurrent, limits: [{ concurrent: 3 }]"))).toMatchObject({
    limits: [{ unit: "concurrent", amount: 3, per: 0 }],
  });
  expect(
    accepted("Quota", quota("unit: bytes, limits: [{ bytes: 10MiB, per: 1h }], cost: { header: X-Cost, max: 50 }")),
  ).toMatchObject({
    limits: [{ amount: 10_485_760 }],
    cost: { header: "x-cost", max: 50, default: 1 },
  });
});

test("an unsupported identity leaves the rest of the callers, and every deny", () => {
  expect(
    accepted("EgressPolicy", "{ from: [{ serviceAccount: e }], allow: [{ hosts: [a.b] }], deny: [{ hosts: ['*'] }] }"),
  ).toMatchObject({
    from: [],
    allow: [{ hosts: ["a.b"], ports: [443] }],
    deny: [{ hosts: ["*"] }],
  });
});
