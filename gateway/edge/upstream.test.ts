import { describe, expect, test } from "vitest";
import type { UpstreamTarget } from "../core/index.ts";
import { upstreamBinding } from "../core/ir/index.ts";
import { failureOf } from "./fetch-failure.ts";
import { Upstreams } from "./upstream.ts";

const pool = { connectTimeoutMs: 1, idleTimeoutMs: 1, maxConnections: 1, maxPendingRequests: 1, maxRequestsPerConnection: 0 };
const tls = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false } as const;
function target(address: string, port: number, secure = true): UpstreamTarget {
  const endpoint = { key: "", address, port, weight: 1, active: 0, runtime: undefined };
  return { endpoint, pool, tls: secure ? tls : undefined };
}
const asked: unknown[] = [];
const bound = {
  fetch: (...told: unknown[]) => {
    asked.push(told);
    return Promise.reject(new Error("asked"));
  },
};

const SELF_HOSTED = { allowAddresses: false, ownHost: false };

describe("an endpoint as a URL", () => {
  const upstreams = new Upstreams({ UPSTREAM_10_0_0_1_80: bound, UPSTREAM_DB_EXAMPLE_COM_443: "a text" }, SELF_HOSTED);
  test.each([
    ["the scheme's own port", target("a.test", 443), "a.test", "https://a.test/x?y"],
    ["a port of its own", target("a.test", 8443), "a.test:8443", "https://a.test:8443/x?y"],
    ["plain", target("a.test", 80, false), "a.test", "http://a.test/x?y"],
    ["a default port in the authority", target("a.test", 443), "a.test:443", "https://a.test:443/x?y"],
  ])("%s", (_, where, authority, url) => {
    expect(upstreams.call(where, { authority, target: "/x?y" })).toMatchObject({ kind: "call", url });
  });

  test("a binding leads there whatever the authority", async () => {
    const call = upstreams.call(target("10.0.0.1", 80, false), { authority: "shop.example.com", target: "/" });
    expect(call).toMatchObject({ kind: "call", url: "http://shop.example.com/" });
    if (call.kind !== "call") throw new Error("refused");
    const plain = new Request("https://unused.invalid/");
    await expect(call.fetcher.fetch("http://a.test/", {})).rejects.toThrow("asked");
    await expect(call.fetcher.fetchPlain?.("http://b.test/", plain)).rejects.toThrow("asked");
    expect(asked).toEqual([
      ["http://a.test/", {}],
      ["http://b.test/", plain],
    ]);
  });

  test.each([
    ["another authority", target("a.test", 443), "b.test", "/", "a.test:443 for its Host instead of b.test"],
    ["another port", target("a.test", 8443), "a.test", "/", "UPSTREAM_A_TEST_8443"],
    ["what is bound is no service", target("db.example.com", 443), "b.test", "/", "UPSTREAM_DB_EXAMPLE_COM_443"],
    ["an IPv4 address", target("192.0.2.1", 443), "192.0.2.1", "/", "IP address"],
    ["an IPv6 address", target("2001:db8::1", 443), "[2001:db8::1]", "/", "IP address"],
    ["the server as a whole", target("a.test", 443), "a.test", "*", "cannot ask"],
  ])("%s is refused with the reason", (_, where, authority, path, reason) => {
    const call = upstreams.call(where, { authority, target: path });
    expect(call).toMatchObject({ kind: "refused", reason: expect.stringContaining(reason) });
  });

  test("where nothing else is possible, or the endpoint is told otherwise, it sees its own name", () => {
    const cloudflare = new Upstreams({}, { allowAddresses: false, ownHost: true });
    const [a, b] = [target("a.test", 443), target("a.test", 8443)];
    const head = { authority: "shop.example.com", target: "/x" };
    expect(cloudflare.call(a, head)).toMatchObject({ kind: "call", url: "https://a.test:443/x" });
    expect(cloudflare.call(b, head)).toMatchObject({ kind: "call", url: "https://a.test:8443/x" });
    expect(upstreams.call(a, head, true)).toMatchObject({ kind: "call", url: "https://a.test:443/x" });
  });

  test("addresses on a runtime that may", () => {
    const allowed = new Upstreams({}, { allowAddresses: true, ownHost: false });
    expect(allowed.call(target("2001:db8::1", 80, false), { authority: "[2001:db8::1]", target: "/" })).toMatchObject({
      url: "http://[2001:db8::1]/",
    });
  });

  test("names of bindings", () => {
    expect(upstreamBinding("origin-1.example.com", 443)).toBe("UPSTREAM_ORIGIN_1_EXAMPLE_COM_443");
    expect(upstreamBinding("2001:db8::1", 80)).toBe("UPSTREAM_2001_DB8__1_80");
  });
});

describe("what fetch throws", () => {
  test.each([
    ["Network connection lost.", "upstream_reset", false],
    ["internal error; reference = vgc27hmv6c48atfgos1if83d", "upstream_reset", false],
    ["connect(): Connection refused", "upstream_connect", true],
    ["connect(): Connection timed out", "upstream_connect_timeout", true],
    ["read(): Connection timed out", "upstream_reset", false],
    ["DNS lookup failed", "dns_failure", true],
    ["TLS peer's certificate is not trusted", "upstream_tls", true],
    ["something new", "upstream_reset", false],
  ])("%s", (message, code, neverSent) => {
    expect(failureOf(new Error(message))).toMatchObject({ code, neverSent });
  });
  test("a call that was wrong, and what is no error at all", () => {
    expect(failureOf(new TypeError("Invalid URL"))).toMatchObject({ code: "internal", neverSent: true });
    expect(failureOf("odd")).toMatchObject({ code: "upstream_reset", neverSent: false });
  });
});
