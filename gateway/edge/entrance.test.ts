import { expect, test } from "vitest";
import { makeSnapshot } from "../../test/support/snapshots.ts";
import { compile, type Tables } from "../core/index.ts";
import type { Listener } from "../core/ir/index.ts";
import { Entrances } from "./entrance.ts";

const origins = [{ kind: "Gateway", namespace: "shop", name: "public" }];
const listener = (servicePort: number, change: Partial<Listener> = {}): Listener => ({
  name: `0.0.0.0:${servicePort}`,
  bind: "0.0.0.0",
  port: servicePort,
  servicePort,
  protocol: "http",
  servers: [{ name: `plain-${servicePort}`, serverNames: ["*"], routeTable: "http.80" }],
  origins,
  ...change,
});
const secure = (servicePort: number, ...names: readonly string[]): Listener =>
  listener(servicePort, {
    protocol: "https",
    servers: names.map((name) => ({ name, serverNames: [name], routeTable: "http.80", tls: { mode: "platform" } })),
  });

function tablesOf(...listeners: readonly Listener[]): Tables {
  const compiled = compile(makeSnapshot(1, { listeners }), "1.1", undefined);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  return compiled.value;
}

const all = tablesOf(listener(80), listener(8080), secure(443, "a.test", "*.b.test"), secure(8443, "*"));
test.each([
  ["http", "a.test", "plain-80"],
  ["http", "a.test:80", "plain-80"],
  ["http", "a.test:8080", "plain-8080"],
  ["http", "a.test:9999", "plain-80"],
  ["https", "a.test", "a.test"],
  ["https", "x.b.test:443", "*.b.test"],
  ["https", "anything.test:8443", "*"],
  ["https", "other.test", undefined],
] as const)("%s to %s comes in by %s", (scheme, authority, server) => {
  expect(new Entrances().find(all.listeners, { scheme, authority })?.server.source.name).toBe(server);
});

test("a site without a listener for the scheme takes nothing by it", () => {
  expect(new Entrances().find(tablesOf(listener(80)).listeners, { scheme: "https", authority: "a.test" })).toBeUndefined();
});

test("a forward proxy's port is not for requests to a site", () => {
  const proxy = tablesOf(listener(80, { protocol: "forward-proxy", servers: [] }));
  expect(new Entrances().find(proxy.listeners, { scheme: "http", authority: "a.test" })).toBeUndefined();
});

test("what was found last is no answer to another question", () => {
  const entrances = new Entrances();
  const found = (scheme: "http" | "https", authority: string) =>
    entrances.find(all.listeners, { scheme, authority })?.server.source.name;
  expect(found("http", "a.test")).toBe("plain-80");
  expect(found("https", "a.test")).toBe("a.test");
  expect(found("https", "x.b.test")).toBe("*.b.test");
  expect(found("https", "other.test")).toBeUndefined();
  expect(found("http", "a.test:8080")).toBe("plain-8080");
  expect(found("http", "a.test:8080")).toBe("plain-8080");
});

test("new tables are looked at anew", () => {
  const entrances = new Entrances();
  expect(
    entrances.find(tablesOf(listener(80)).listeners, { scheme: "http", authority: "a.test:8080" })?.listener.source.port,
  ).toBe(80);
  expect(entrances.find(all.listeners, { scheme: "http", authority: "a.test:8080" })?.listener.source.port).toBe(8080);
});
