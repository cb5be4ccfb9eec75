import { expect, test } from "vitest";
import { checkReferences, type ReferenceOptions } from "./references.ts";
import { formatProblem } from "./resource.ts";
import { object, validate } from "./test-objects.ts";

function check(texts: readonly string[], options: ReferenceOptions = {}): readonly string[] {
  const { objects } = validate(texts.join("---\n"));
  const resources = objects.flatMap(({ resource }) => (resource ? [resource] : []));
  expect(resources).toHaveLength(objects.length);
  const found = checkReferences(resources, options);
  expect(found.every(({ severity }) => severity === "warning")).toBe(true);
  return found.map((problem) => formatProblem(problem).replace(/^a\.yaml:\d+:\d+: /, ""));
}

const named = (name: string, text: string) => text.replace("name: x", `name: ${name}`);
const gateway = object("Gateway", "{ servers: [{ port: { number: 80, protocol: HTTP }, hosts: ['*'] }] }");
const service = (host: string) => named(host.replace("*.", "w-"), object("ServiceEntry", `{ hosts: ["${host}"] }`));
const routes = (gateways: string, destination: string) =>
  object(
    "VirtualService",
    `{ hosts: [a.b], gateways: [${gateways}], http: [{ name: r, route: [{ destination: ${destination} }] }] }`,
  );

test("all there: nothing to say", () => {
  const rule = object("DestinationRule", "{ host: reviews, subsets: [{ name: v1 }] }");
  expect(
    check([
      gateway,
      service("reviews.default.svc.cluster.local"),
      rule,
      routes("x, default/x, mesh", "{ host: reviews, subset: v1 }"),
    ]),
  ).toEqual([]);
  expect(check([gateway, service("*.example.com"), routes("x", "{ host: api.example.com }")])).toEqual([]);
  expect(
    check([gateway, routes("x", "{ host: dns.example.com }")], { hasService: (host) => host === "dns.example.com" }),
  ).toEqual([]);
});

test("a missing gateway, host and subset", () => {
  expect(check([gateway, routes("y, shop/x", "{ host: a }")])).toEqual([
    "VirtualService default/x: spec.gateways[0]: there is no Gateway default/y, so nothing is routed by it; known are default/x",
    "VirtualService default/x: spec.gateways[1]: there is no Gateway shop/x, so nothing is routed by it; known are default/x",
    'VirtualService default/x: spec.http[0].route[0].destination.host: no service has the host "a", so requests are answered with 503 until one has',
  ]);
  expect(check([gateway, service("a.b"), routes("x", "{ host: a.b, subset: v9 }")])).toEqual([
    'VirtualService default/x: spec.http[0].route[0].destination.subset: no DestinationRule for "a.b" has the subset "v9", so requests are answered with 503 until one has',
  ]);
});

test("targets of quotas", () => {
  const quota = (target: string) => object("Quota", `{ targets: [${target}], limits: [{ requests: 1, per: 1s }] }`);
  const policy = object("EgressPolicy", "{ from: [{ proxyUser: u }], allow: [{ name: stripe, hosts: [a.b] }] }");
  const base = [gateway, service("a.b"), routes("x", "{ host: a.b }"), policy];
  const good =
    "{ kind: VirtualService, name: x, route: r }, { kind: Gateway, name: x }, { kind: Service, name: a.b }, { kind: Host, name: z.z }, { kind: EgressRule, name: x, rule: stripe }";
  expect(check([...base, quota(good)])).toEqual([]);
  const bad =
    "{ kind: VirtualService, name: x, route: q }, { kind: VirtualService, name: y }, { kind: Gateway, name: y, namespace: n }, { kind: Service, name: c }, { kind: EgressRule, name: x, rule: s }";
  expect(check([...base, quota(bad)])).toEqual([
    'Quota default/x: spec.targets[0].route: VirtualService default/x has no route named "q", so the quota does not apply there; named are r',
    "Quota default/x: spec.targets[1].name: there is no VirtualService default/y, so the quota does not apply there; known are default/x",
    "Quota default/x: spec.targets[2].name: there is no Gateway n/y, so the quota does not apply there; known are default/x",
    'Quota default/x: spec.targets[3].name: no service has the host "c", so the quota does not apply there',
    'Quota default/x: spec.targets[4].rule: EgressPolicy default/x has no rule named "s", so the quota does not apply there; named are stripe',
  ]);
});

test("cohorts of sites", () => {
  const site = object("EdgeSite", "{ url: 'https://e.example', egress: true, cohort: canary }");
  const mesh = object("MeshConfig", "{ rollout: { cohorts: [{ name: canary, after: 5m }] } }");
  expect(check([site, mesh])).toEqual([]);
  expect(check([site])).toEqual([
    'EdgeSite default/x: spec.cohort: there is no cohort "canary" in MeshConfig\'s rollout.cohorts, so the site takes changes at once; it lists none',
  ]);
});

test("proxy users are checked where they are known; selectors have to select", () => {
  const policy = object("EgressPolicy", "{ from: [{ proxyUser: u }] }");
  expect(check([policy])).toEqual([]);
  expect(check([policy], { proxyUsers: new Set(["v"]) })).toEqual([
    'EgressPolicy default/x: spec.from[0].proxyUser: there is no proxy user "u", so nobody is let out by this; add it to the file of MeshConfig\'s proxyUsers',
  ]);
  const selecting = object("ServiceEntry", "{ hosts: [a.b], resolution: STATIC, workloadSelector: { labels: { app: a } } }");
  const workload = (app: string) => object("WorkloadEntry", `{ address: 10.0.0.1, labels: { app: ${app} } }`);
  expect(check([selecting, workload("a")])).toEqual([]);
  expect(check([selecting, workload("b")])).toEqual([
    "ServiceEntry default/x: spec.workloadSelector: no WorkloadEntry of namespace default has these labels, so the service has no endpoint",
  ]);
});
