import fc from "fast-check";
import { expect, test } from "vitest";
import { KINDS } from "./kinds/index.ts";
import { NOW_MS, object, told, validate } from "./test-objects.ts";
import { formatPath, problemsOf, validateText } from "./validate.ts";

const INTRODUCTORY = `apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata:
  name: my-gateway
spec:
  selector:
    app: my-gateway-controller
  servers:
  - port:
      number: 80
      name: http
      protocol: HTTP
    hosts:
    - "*"
    tls:
      httpsRedirect: true # sends 301 redirect for http requests
  - port:
      number: 9080
      name: http-wildcard
      protocol: HTTP
    hosts:
    - "*"
  - port:
      number: 443
      name: https
      protocol: HTTPS
    hosts:
    - "*"
    tls:
      mode: SIMPLE
      serverCertificate: /etc/certs/servercert.pem
      privateKey: /etc/certs/privatekey.pem
  - port:
      number: 2379 # to expose internal service via external port 2379
      name: mongo
      protocol: MONGO
    hosts:
    - "*"
`;

test("an introductory Gateway loads unchanged", () => {
  const validation = validate(INTRODUCTORY);
  expect(told(validation)).toEqual([]);
  const [gateway] = validation.objects;
  if (gateway?.resource?.kind !== "Gateway") throw new Error("refused");
  expect(
    gateway.resource.spec.servers.map(({ port, tls }) => [port.number, port.protocol, tls?.httpsRedirect, tls?.mode]),
  ).toEqual([
    [80, "HTTP", true, undefined],
    [9080, "HTTP", undefined, undefined],
    [443, "HTTPS", false, "SIMPLE"],
    [2379, "MONGO", undefined, undefined],
  ]);
  expect(gateway.resource.metadata).toEqual({
    name: "my-gateway",
    namespace: "default",
    labels: {},
    annotations: {},
    createdMs: NOW_MS,
    generation: 1,
  });
  expect(gateway.resource.source).toEqual({ file: "a.yaml", line: 1, column: 1 });
});

test.each(["v1", "v1beta1", "v1alpha3"])("networking.istio.io/%s", (version) => {
  const text = object("ServiceEntry", "{ hosts: [a.example.com] }").replace("/v1", `/${version}`);
  expect(validate(text).objects[0]?.resource?.apiVersion).toBe(`networking.istio.io/${version}`);
});

test("every problem of a file at once, each with line, column, object, path and remedy", () => {
  const text = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge, namespace: shop }
spec:
  selectr: { istio: ingressgateway }
  servers:
    - port: { number: "80", name: http, protocol: HTPT }
      hosts: [Foo.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop }
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http:
    - macth: [{ uri: { prefix: / } }]
      timeout: 10
      route: [{ destination: { host: shop } }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: good }
spec: { hosts: [good.example.com] }
`;
  const validation = validate(text);
  expect(told(validation)).toEqual([
    'error a.yaml:5:3: Gateway shop/edge: spec.selectr: unknown field "selectr"; did you mean "selector"?',
    'error a.yaml:7:23: Gateway shop/edge: spec.servers[0].port.number: "80" is not allowed here; it must be a number (port, 1 to 65535)',
    'error a.yaml:7:51: Gateway shop/edge: spec.servers[0].port.protocol: "HTPT" is not a protocol; it must be one of HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS',
    'error a.yaml:8:15: Gateway shop/edge: spec.servers[0].hosts[0]: "Foo.example.com" has upper case letters; write "foo.example.com"',
    'error a.yaml:17:7: VirtualService default/shop: spec.http[0].macth: unknown field "macth"; did you mean "match"?',
    "error a.yaml:18:16: VirtualService default/shop: spec.http[0].timeout: 10 is not allowed here; it must be text (a duration such as 10s, 1h30m or 0.5s)",
  ]);
  expect(validation.objects.map(({ ref, resource }) => [ref.name, resource !== undefined])).toEqual([
    ["edge", false],
    ["shop", false],
    ["good", true],
  ]);
});

test.each([
  [
    "no object",
    "- a\n",
    ["error a.yaml:1:1: this is not an object; a document is a map with apiVersion, kind, metadata and spec"],
  ],
  [
    "no apiVersion, kind or name",
    "spec: {}\n",
    [
      "error a.yaml:1:1: apiVersion: apiVersion is missing; write for example apiVersion: networking.istio.io/v1",
      "error a.yaml:1:1: kind: kind is missing; write for example kind: Gateway",
    ],
  ],
  [
    "another version",
    object("Gateway", "{ servers: [{ port: { number: 80, protocol: HTTP }, hosts: ['*'] }] }").replace("/v1", "/v2"),
    [
      'error a.yaml:1:13: Gateway default/x: apiVersion: Gateway has no version "v2"; known are networking.istio.io/v1, networking.istio.io/v1beta1, networking.istio.io/v1alpha3',
    ],
  ],
  [
    "a misspelt kind",
    object("VirtualServce", "{}"),
    [
      'error a.yaml:2:7: VirtualServce default/x: kind: networking.istio.io has no kind "VirtualServce"; did you mean VirtualService?',
    ],
  ],
  [
    "a kind that comes later",
    object("Sidecar", "{}"),
    [
      `error a.yaml:2:7: Sidecar default/x: kind: kind Sidecar of networking.istio.io is not supported yet, so the object is refused; known are ${KINDS.map(({ kind }) => kind).join(", ")}`,
    ],
  ],
  [
    "a known kind in a wrong group",
    object("Quota", "{}").replace("tidegate.dev", "tidegate.io"),
    [
      'error a.yaml:1:13: Quota default/x: apiVersion: Quota is not a kind of "mesh.tidegate.io"; did you mean mesh.tidegate.dev/v1?',
    ],
  ],
  [
    "another program's kind",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\n",
    [
      `warning a.yaml:2:7: Deployment default/x: kind: Deployment of apps is not a Tidegate kind and is skipped; known are ${KINDS.map(({ kind }) => kind).join(", ")}`,
    ],
  ],
  [
    "metadata",
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: Foo_Bar, namspace: a, labels: { a: 1 } }\nspecs: {}\nspec: { hosts: [a.b] }\n",
    [
      'error a.yaml:3:19: ServiceEntry default/Foo_Bar: metadata.name: "Foo_Bar" is not a name; use lower case letters, digits, "-" and "." (RFC 1123), at most 253 characters',
      'error a.yaml:3:28: ServiceEntry default/Foo_Bar: metadata.namspace: unknown field "namspace"; did you mean "namespace"?',
      'error a.yaml:3:54: ServiceEntry default/Foo_Bar: metadata.labels.a: the value must be text; write "1" in quotes',
      'error a.yaml:4:1: ServiceEntry default/Foo_Bar: specs: unknown field "specs"; did you mean "spec"?',
    ],
  ],
])("%s", (_, text, expected) => {
  expect(told(validate(text))).toEqual(expected);
});

test("lists, server-written fields and nulls, as kubectl prints them", () => {
  const text = `apiVersion: v1
kind: List
items:
  - apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: { name: a, creationTimestamp: "2024-01-02T03:04:05Z", uid: u, resourceVersion: "5", managedFields: [] }
    spec: { hosts: [a.example.com], addresses: null }
    status: null
  - apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: { name: b }
    spec: { hosts: [B.example.com] }
`;
  const validation = validate(text);
  expect(validation.objects[0]?.resource?.metadata.createdMs).toBe(Date.UTC(2024, 0, 2, 3, 4, 5));
  expect(told(validation)).toEqual([
    'error a.yaml:12:21: ServiceEntry default/b: spec.hosts[0]: "B.example.com" has upper case letters; write "b.example.com"',
  ]);
});

test("field paths as people write them", () => {
  expect(formatPath(["spec", "http", 0, "match", 1, "headers", "end-user"])).toBe("spec.http[0].match[1].headers.end-user");
  expect(formatPath(["spec", "labels", "app.kubernetes.io/name"])).toBe('spec.labels["app.kubernetes.io/name"]');
});

test("arbitrary text never throws, and is either accepted or complained about", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), fc.json(), yamlish), (text) => {
      const validation = validateText(text, "f", { nowMs: 0 });
      for (const found of validation.objects) {
        expect(found.resource !== undefined || found.problems.some(({ severity }) => severity === "error")).toBe(true);
      }
      for (const problem of problemsOf(validation)) expect(problem.message).not.toBe("");
    }),
    { numRuns: 300, seed: 7 },
  );
});

const word = fc.constantFrom(
  "spec",
  "http",
  "hosts",
  "servers",
  "route",
  "match",
  "limits",
  "key",
  "allow",
  "from",
  "80",
  "*",
  "1s",
  "x",
  "<<",
  "port",
);
const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    word,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(word, tie("value"), { maxKeys: 4 }),
  ),
})).value;
/** Objects of known kinds with specs of known words in wrong places. */
const yamlish = fc
  .record({
    definition: fc.constantFrom(...KINDS),
    spec: fc.dictionary(fc.oneof(word, fc.constantFrom("targets", "gateways", "ports")), value, { maxKeys: 5 }),
  })
  .map(({ definition: { group, kind }, spec }) =>
    JSON.stringify({ apiVersion: `${group}/v1`, kind, metadata: { name: "x" }, spec }),
  );
