/** 5,000 of everything. A quadratic loop would take minutes, so the bound may be loose enough for a busy machine. */
import { expect, test } from "vitest";
import { DECODE_LIMITS } from "../../gateway/core/ir/index.ts";
import { type AnyResource, DEFAULT_MESH_CONFIG, validateText } from "../config/index.ts";
import { buildRegistry } from "../registry/index.ts";
import { translate } from "./index.ts";

const BUDGET_MS = 4000;

const GATEWAY = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: gw, namespace: shop }
spec:
  servers:
    - port: { number: 80, name: http, protocol: HTTP }
      hosts: [ "*" ]
    - port: { number: 443, name: https, protocol: HTTPS }
      hosts: [ "*.example.com" ]
      tls: { mode: SIMPLE, serverCertificate: /c.pem, privateKey: /k.pem }
`;
const SET = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: item-0, namespace: shop }
spec:
  hosts: [ item-0.example.com ]
  gateways: [ gw ]
  http:
    - match: [ { uri: { prefix: /a } } ]
      route:
        - { destination: { host: item-0.example.com, subset: v1 }, weight: 90 }
        - { destination: { host: item-0.example.com, subset: v2 }, weight: 10 }
    - route: [ { destination: { host: item-0.example.com } } ]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: item-0, namespace: shop }
spec:
  hosts: [ item-0.example.com ]
  resolution: STATIC
  ports: [ { number: 80, name: http, protocol: HTTP } ]
  endpoints: [ { address: 10.0.0.1, labels: { v: "1" } }, { address: 10.0.0.2, labels: { v: "2" } } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: item-0, namespace: shop }
spec:
  host: item-0.example.com
  subsets: [ { name: v1, labels: { v: "1" } }, { name: v2, labels: { v: "2" } } ]
---
apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: item-0, namespace: shop }
spec:
  targets: [ { kind: VirtualService, name: item-0 }, { kind: Host, name: item-0.example.com }, { kind: Service, name: item-0.example.com } ]
  limits: [ { requests: 5, per: 1s } ]
`;

function read(text: string): readonly AnyResource[] {
  return validateText(text, "scale", { nowMs: 0 }).objects.flatMap(({ resource }) => resource ?? []);
}

test("5,000 VirtualServices with services, rules and quotas", () => {
  const set = JSON.stringify(read(SET));
  const copies = Array.from(
    { length: 5000 },
    (_, index) => JSON.parse(set.replaceAll("item-0", `item-${index}`)) as AnyResource[],
  );
  const config = [...read(GATEWAY), ...copies.flat()];
  const [pool] = DEFAULT_MESH_CONFIG.gatewayPools;
  if (pool === undefined) throw new Error("the default mesh has no pool");
  const started = performance.now();
  const { registry } = buildRegistry(config);
  const { snapshot, problems } = translate({ config, registry, pool, mesh: DEFAULT_MESH_CONFIG });
  const took = performance.now() - started;
  expect(problems).toEqual([]);
  expect(snapshot.routeTables.map(({ virtualHosts }) => virtualHosts.length)).toEqual([5000, 5000]);
  expect(snapshot.clusters.length).toBe(15_000);
  expect(snapshot.quotas.length).toBe(5000);
  expect(took).toBeLessThan(BUDGET_MS);
}, 30_000);

test("what a reader takes at most is kept to: servers of a listener as origins, domains of a virtual host", () => {
  const [gateway] = read(GATEWAY.replace(/ {4}- port: \{ number: 443[\s\S]*$/, ""));
  const [virtualService] = read(SET).map((object) =>
    object.kind === "VirtualService" ? { ...object, spec: { ...object.spec, hosts: ["*"] } } : object,
  );
  if (gateway?.kind !== "Gateway" || virtualService === undefined) throw new Error("unexpected objects");
  const [server] = gateway.spec.servers;
  if (server === undefined) throw new Error("no server");
  const hosts = Array.from({ length: DECODE_LIMITS.domainsPerVirtualHost + 1 }, (_, index) => ({
    namespace: "*",
    host: `h${index}.example.com`,
  }));
  const servers = Array.from({ length: DECODE_LIMITS.listLength + 1 }, (_, index) => ({
    ...server,
    hosts: index === 0 ? hosts : server.hosts.slice(0, 0),
  }));
  const config = [{ ...gateway, spec: { ...gateway.spec, servers } }, virtualService];
  const [pool] = DEFAULT_MESH_CONFIG.gatewayPools;
  if (pool === undefined) throw new Error("the default mesh has no pool");
  const { snapshot } = translate({ config, registry: buildRegistry(config).registry, pool, mesh: DEFAULT_MESH_CONFIG });
  expect(snapshot.listeners[0]?.origins.length).toBe(DECODE_LIMITS.listLength);
  const domains = snapshot.routeTables[0]?.virtualHosts.map((virtualHost) => virtualHost.domains.length);
  expect(domains).toEqual([DECODE_LIMITS.domainsPerVirtualHost, 1]);
});
