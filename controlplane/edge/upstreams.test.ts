import { expect, test } from "vitest";
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import { siteUpstreams } from "./upstreams.ts";

type Cluster = Snapshot["clusters"][number];
type Route = Snapshot["routeTables"][number]["virtualHosts"][number]["routes"][number];

const TLS: Cluster["tls"] = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false };

function snapshot(clusters: Readonly<Record<string, Partial<Cluster>>>, routes: readonly unknown[], domains = ["*"]) {
  return {
    clusters: Object.entries(clusters).map(([name, change]) => ({ name, ...change }) as Cluster),
    endpoints: Object.keys(clusters).map((name) => {
      const [address = "", port = ""] = name.split("|");
      return { cluster: name, endpoints: [{ address, port: Number(port), weight: 1 }] };
    }),
    routeTables: [
      { name: "main", quotas: [], virtualHosts: [{ name: "any", domains, quotas: [], routes: routes as readonly Route[] }] },
    ],
  };
}

const to = (cluster: string, rewrite?: { readonly authority: string }) => ({
  action: { kind: "forward", destinations: [{ cluster, weight: 1 }], mirrors: [], ...(rewrite && { rewrite }) },
});

test("servers that are told the client's Host are bound, by their address and the name of their certificate", () => {
  const clusters = {
    "10.0.0.1|8080": {},
    "api.example.com|443": { tls: TLS },
    "2001:db8::1|443": { tls: { ...TLS, serverName: "six.test" } },
  };
  expect(
    siteUpstreams(
      snapshot(
        clusters,
        Object.keys(clusters).map((name) => to(name)),
      ),
    ),
  ).toEqual([
    { binding: "UPSTREAM_10_0_0_1_8080", address: "10.0.0.1:8080", certificateHost: undefined },
    { binding: "UPSTREAM_2001_DB8__1_443", address: "[2001:db8::1]:443", certificateHost: "six.test" },
    { binding: "UPSTREAM_API_EXAMPLE_COM_443", address: "api.example.com:443", certificateHost: "api.example.com" },
  ]);
});

test("servers that are told their own name are left to their URL", () => {
  const clusters = { "api.example.com|443": { tls: TLS }, "10.0.0.1|8080": {} };
  const routes = [
    to("api.example.com|443", { authority: "API.example.com" }),
    to("10.0.0.1|8080", { authority: "10.0.0.1:8080" }),
  ];
  expect(siteUpstreams(snapshot(clusters, routes))).toEqual([]);
  expect(siteUpstreams(snapshot(clusters, [to("api.example.com|443")], ["api.example.com"]))).toEqual([]);
});

test("what is inside a cluster, what nobody sends to, and answers of the gateway itself need none", () => {
  const via = { kind: "passport", cluster: "main", destination: "x" } as const;
  const clusters = { "in.example.com|443": { tls: TLS, via }, "unused.example.com|80": {} };
  const routes = [to("in.example.com|443"), to("not-there"), { action: { kind: "direct-response", status: 200 } }];
  expect(siteUpstreams(snapshot(clusters, routes))).toEqual([]);
});

test("a mirror is told the same Host as the destination", () => {
  const route = { action: { kind: "forward", destinations: [], mirrors: [{ cluster: "shadow.test|80" }] } };
  expect(siteUpstreams(snapshot({ "shadow.test|80": {} }, [route])).map(({ address }) => address)).toEqual(["shadow.test:80"]);
});
