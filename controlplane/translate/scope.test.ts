import { describe, expect, test } from "vitest";
import { type ResourceOf, validateText } from "../config/index.ts";
import { planListeners } from "./listeners.ts";
import { gatewayKeys, ServerHosts, selects } from "./scope.ts";
import { Status } from "./status.ts";

const POOL = { name: "p", namespace: "edge", labels: {}, role: "ingress", bind: "127.0.0.1", ports: {} } as const;

function serverHosts(...hosts: readonly string[]): ServerHosts {
  const text = JSON.stringify({
    apiVersion: "networking.istio.io/v1",
    kind: "Gateway",
    metadata: { name: "gw", namespace: "shop" },
    spec: { servers: [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts }] },
  });
  const gateways = validateText(text, "test", { nowMs: 0 }).objects.flatMap(({ resource }) =>
    resource?.kind === "Gateway" ? [resource] : [],
  );
  const [server] = planListeners(gateways, POOL, new Status()).flatMap(({ servers }) => servers);
  if (server === undefined) throw new Error("no server");
  return new ServerHosts(server);
}

describe("hosts that a server and a VirtualService have in common", () => {
  test.each<[readonly string[], readonly string[], string, readonly string[]]>([
    [["*"], ["a.com"], "shop", ["a.com"]],
    [["a.com"], ["*"], "shop", ["a.com"]],
    [["*"], ["*"], "shop", ["*"]],
    [["*.com"], ["*.a.com"], "shop", ["*.a.com"]],
    [["*.a.com", "b.com"], ["*.com"], "shop", ["*.a.com", "b.com"]],
    [["*.com"], ["com"], "shop", []],
    [["a.com"], ["b.com"], "shop", []],
    [["*.a.com", "x.a.com"], ["x.a.com"], "shop", ["x.a.com"]],
    [["./a.com"], ["a.com"], "shop", ["a.com"]],
    [["./a.com"], ["a.com"], "team", []],
    [["team/a.com", "other/a.com"], ["a.com"], "other", ["a.com"]],
    [["team/*"], ["a.com"], "shop", []],
    [["team/a.com", "*/*.com"], ["a.com"], "shop", ["a.com"]],
  ])("%j and %j of namespace %s: %j", (own, asked, namespace, expected) => {
    expect([...serverHosts(...own).intersect(asked, namespace)].sort()).toEqual([...expected].sort());
  });
});

test("labels select what carries all of them; no label selects everything", () => {
  expect(selects({}, {})).toBe(true);
  expect(selects({ a: "1" }, { a: "1", b: "2" })).toBe(true);
  expect(selects({ a: "1", b: "3" }, { a: "1", b: "2" })).toBe(false);
});

test("a bare Gateway name is in the VirtualService's own namespace", () => {
  const owner = { metadata: { namespace: "shop" } } as ResourceOf<"VirtualService">;
  expect([...gatewayKeys(["gw", "edge/gw", "mesh"], owner)]).toEqual(["shop/gw", "edge/gw", "mesh"]);
});
