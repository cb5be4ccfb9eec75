import { expect, test } from "vitest";
import { accepted, complaints, object, validate } from "../../test-objects.ts";
import { problemsOf } from "../../validate.ts";
import { MAX_CLUSTER_NAME_LENGTH } from "./common.ts";
import { type EdgeSiteSpec, MAX_ORIGIN_LENGTH, siteNames } from "./edge-site.ts";

test.each([
  [
    "{ url: 'http://edge.example.com', audience: Edge, gateways: [{ name: a }, { name: a, namespace: default }], clusters: [{ name: main }, { name: main, ingress: 'https://10.0.0.1' }], cohort: canary }",
    [
      'error spec.url: "http://edge.example.com" would go over the network in clear; write https://edge.example.com (http is for loopback hosts only)',
      'error spec.audience: an audience has 1 to 63 lower case letters, digits, ".", "_" and "-", beginning with a letter or digit',
    ],
  ],
  [
    "{ url: 'https://e.example', gateways: [{ name: a }, { name: a, namespace: default }], clusters: [{ name: main }, { name: main, ingress: 'https://10.0.0.1' }, { name: c, ingress: 'http://localhost:1' }, { name: t, via: tunnel, ingress: 'https://127.0.0.1' }], cohort: canary }",
    [
      "error spec.gateways[1]: the Gateway default/a is listed twice; remove one",
      "error spec.clusters[0]: via passport needs ingress; write where the cluster's ingress is reached, such as https://in.example.com",
      'error spec.clusters[1].name: the cluster "main" is listed already as clusters[0]; names must differ',
      "error spec.clusters[1].ingress: Cloudflare reaches names on the internet only, not 10.0.0.1; write the ingress's name, use via: tunnel, or runtime: workerd",
      "error spec.clusters[2].ingress: Cloudflare reaches names on the internet only, not localhost; write the ingress's name, use via: tunnel, or runtime: workerd",
      "warning spec.clusters[1]: services are reached through the first cluster, main; the others are not used yet",
    ],
  ],
  [
    "{ url: 'https://e.example' }",
    ["error spec: the site serves nothing; list gateways, or set egress: true for an egress Worker alone"],
  ],
])("%s", (spec, expected) => {
  const found = complaints("EdgeSite", spec);
  expect(found).toHaveLength(expected.length);
  expect(found).toEqual(expect.arrayContaining(expected));
});

test("an EdgeSite's defaults; what follows from its name", () => {
  const spec = accepted("EdgeSite", "{ url: 'https://e.example', egress: true }") as EdgeSiteSpec;
  expect(spec).toEqual({
    url: "https://e.example",
    runtime: "cloudflare",
    gateways: [],
    clusters: [],
    egress: true,
    quotaBank: false,
  });
  expect(siteNames({ metadata: { name: "europe" }, spec })).toEqual({ audience: "europe", secret: "europe" });
  const told = { ...spec, audience: "edge-eu", credentials: { fromSecret: { name: "keys" } } };
  expect(siteNames({ metadata: { name: "europe" }, spec: told })).toEqual({ audience: "edge-eu", secret: "keys" });
});

test("an EdgeSite whose name is no audience has to write one", () => {
  const text = (name: string) =>
    object("EdgeSite", "{ url: 'https://e.example', egress: true }").replace("name: x", `name: ${name}`);
  const messages = (name: string) => problemsOf(validate(text(name))).map(({ path, message }) => `${path}: ${message}`);
  expect(messages("a".repeat(63))).toEqual([]);
  expect(messages(`${"a".repeat(63)}.b`)).toEqual([
    `spec.audience: the object's name "${"a".repeat(63)}.b" cannot be the audience, which has at most 63 characters; write a shorter audience`,
  ]);
});

test.each([
  ["https://edge.example.com", undefined],
  ["https://edge.example.com:8443", undefined],
  ["http://localhost:8787", undefined],
  ["http://site.localhost:8787", undefined],
  ["http://127.0.0.1:8787", undefined],
  ["http://[::1]:8787", undefined],
  ["https://192.0.2.1", undefined],
  ["http://127.0.0.1.example.com", '"http://127.0.0.1.example.com" would go over the network in clear'],
  ["http://192.0.2.1", '"http://192.0.2.1" would go over the network in clear'],
  ["https://edge.example.com/", "is not in its usual form; write https://edge.example.com"],
  ["https://edge.example.com:443", "is not in its usual form; write https://edge.example.com"],
  ["https://Edge.example.com", "is not in its usual form; write https://edge.example.com"],
  ["https://0x7f.1", "is not in its usual form; write https://127.0.0.1"],
  ["https://edge.example.com/relay", "has more than scheme, host and port; write https://edge.example.com"],
  ["https://edge.example.com?a", "has more than scheme, host and port"],
  ["https://edge.example.com#a", "has more than scheme, host and port"],
  ["https://*.example.com", "the wildcard"],
  ["ftp://edge.example.com", "is not an address; write for example https://edge.example.com"],
  ["edge.example.com", "is not an address"],
  [`https://${"a.".repeat(MAX_ORIGIN_LENGTH / 2)}`, `at most ${MAX_ORIGIN_LENGTH} are allowed`],
])("url %s", (url, expected) => {
  const found = complaints("EdgeSite", JSON.stringify({ url, egress: true }));
  if (expected === undefined) expect(found).toEqual([]);
  else expect(found).toEqual([expect.stringContaining(expected)]);
});

test("credentials in an address are refused and not repeated", () => {
  const [told] = complaints("EdgeSite", "{ url: 'https://me:hunter2@edge.example.com', egress: true }");
  expect(told).toBe("error spec.url: the address holds credentials; remove them, they belong into the secret");
});

test("MAX_CLUSTER_NAME_LENGTH: names of clusters are labels", () => {
  const found = (name: string) => [
    ...complaints("EdgeSite", JSON.stringify({ url: "https://e.example", egress: true, clusters: [{ name, via: "tunnel" }] })),
    ...complaints("MeshConfig", JSON.stringify({ clusterName: name })),
  ];
  expect(found("a".repeat(MAX_CLUSTER_NAME_LENGTH))).toEqual([]);
  for (const name of ["a".repeat(MAX_CLUSTER_NAME_LENGTH + 1), "a.b", "A", ""]) {
    const message = `"${name}" is not a cluster's name; use lower case letters, digits and "-" (RFC 1123), at most 63 characters`;
    expect(found(name)).toEqual([`error spec.clusters[0].name: ${message}`, `error spec.clusterName: ${message}`]);
  }
});
