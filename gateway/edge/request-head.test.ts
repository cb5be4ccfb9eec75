import { describe, expect, test } from "vitest";
import type { ClientAddressField } from "./env.ts";
import { readRequest, UNKNOWN_ADDRESS } from "./request-head.ts";

interface Made {
  readonly url?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly cf?: object;
  readonly body?: "stream" | null;
}

/** As workerd makes it: the target is raw, which no `Request` of Node's could be. */
function made({ url = "http://shop.example.com/a", method = "GET", headers = {}, cf = {}, body = null }: Made): Request {
  return { url, method, headers: new Headers(headers), cf, body } as unknown as Request;
}
const read = (parts: Made, from: ClientAddressField = "x-forwarded-for") => readRequest(made(parts), from);

describe("target and authority", () => {
  test.each([
    ["http://shop.example.com", "shop.example.com", "/"],
    ["http://SHOP.example.com:8080/a?b", "shop.example.com:8080", "/a?b"],
    ["http://shop.example.com/a/../b/%2e%2e//d?x=%41", "shop.example.com", "/a/../b/%2e%2e//d?x=%41"],
    ["http://shop.example.com//a", "shop.example.com", "//a"],
    ["http://[2001:DB8::1]:81/", "[2001:db8::1]:81", "/"],
    ["http://shop.example.com/a?http://b/", "shop.example.com", "/a?http://b/"],
  ])("%s", (url, authority, target) => {
    expect(read({ url })?.head).toMatchObject({ scheme: "http", authority, target });
  });

  test("https", () => {
    const found = read({ url: "https://a.test/", cf: { clientIp: "1.2.3.4:5", tlsVersion: "TLSv1.3" } });
    expect(found).toMatchObject({ head: { scheme: "https" }, peer: { tls: { version: "TLSv1.3" } } });
  });

  test.each([
    "http://a b/",
    "http://user@a.test/",
    "http:///a",
    "http://a.test:0/",
    "http://a.test\\b/",
    "http://a.test/a\\b",
    "http://a.test/a#b",
    "http://a.test/\u00fc",
    "http://a.test?x",
    "http://a.test*",
    "ftp://a.test/",
  ])("%s is refused", (url) => {
    expect(read({ url })).toBeUndefined();
  });

  test("the asterisk is a target of OPTIONS", () => {
    expect(read({ url: "http://a.test*", method: "OPTIONS" })?.head.target).toBe("*");
  });
});

describe("fields", () => {
  test("framing, Host and Connection are told apart from the list", () => {
    const headers = { host: "a.test", "content-length": "3", connection: "Close, X-Hop", "x-hop": "1", accept: "*/*" };
    const found = read({ method: "PUT", headers, body: "stream" });
    expect(found?.head.fields).toEqual(["accept", "*/*", "x-hop", "1"]);
    expect(found?.head.body).toEqual({ kind: "length", bytes: 3 });
    expect(found?.connectionOptions).toEqual(["close", "x-hop"]);
  });

  test.each([
    ["no framing on a self-hosted runtime is no body", { clientIp: "1.1.1.1:1" }, {}, { kind: "none" }],
    ["no framing over HTTP/2 may be any body", { httpProtocol: "HTTP/2" }, {}, { kind: "stream" }],
    ["chunked", { clientIp: "1.1.1.1:1" }, { "transfer-encoding": "chunked" }, { kind: "stream" }],
    ["a length of 0", { httpProtocol: "HTTP/2" }, { "content-length": "0" }, { kind: "length", bytes: 0 }],
  ] as const)("%s", (_, cf, headers, body) => {
    expect(read({ method: "POST", cf, headers, body: "stream" })?.head.body).toEqual(body);
  });

  test.each([
    ["GET", { connection: "upgrade", upgrade: "WebSocket" }, {}, "websocket"],
    ["GET", { upgrade: "websocket" }, {}, undefined],
    ["GET", { upgrade: "websocket" }, { httpProtocol: "HTTP/1.1" }, "websocket"],
    ["POST", { connection: "upgrade", upgrade: "websocket" }, {}, undefined],
    ["GET", { connection: "upgrade", upgrade: "h2c" }, {}, undefined],
  ] as const)("%s with %o asks for another protocol: %o", (method, headers, cf, expected) => {
    expect(read({ method, headers, cf })?.switchTo).toBe(expected);
  });
});

describe("the client", () => {
  test("self-hosted: the other end of the connection, whatever fields say", () => {
    const headers = { "cf-connecting-ip": "9.9.9.9", "x-forwarded-for": "8.8.8.8" };
    expect(read({ cf: { clientIp: "127.0.0.1:4711" }, headers })).toMatchObject({ peer: { address: "127.0.0.1", port: 4711 } });
    expect(read({ cf: { clientIp: "[2001:db8::1]:4711" } })?.peer.address).toBe("2001:db8::1");
  });

  test("on Cloudflare: the one that the platform names, and its place", () => {
    const found = read(
      { headers: { "cf-connecting-ip": "198.51.100.7" }, cf: { country: "CH", colo: "ZRH", asn: 64496 } },
      "cf-connecting-ip",
    );
    expect(found?.peer).toMatchObject({ address: "198.51.100.7", place: { country: "CH", colo: "ZRH", asn: 64496 } });
  });

  test.each([
    ["198.51.100.7", undefined],
    ["203.0.113.1, 198.51.100.7", "203.0.113.1"],
    ["198.51.100.7, 203.0.113.1", "198.51.100.7, 203.0.113.1"],
  ])("X-Forwarded-For %s is told without what the platform added", (sent, told) => {
    const headers = { "cf-connecting-ip": "198.51.100.7", "x-forwarded-for": sent };
    const fields = read({ headers }, "cf-connecting-ip")?.head.fields ?? [];
    const at = fields.indexOf("x-forwarded-for");
    expect(at === -1 ? undefined : fields[at + 1]).toBe(told);
  });

  test("nobody says: no address that could be anybody's", () => {
    expect(read({}, "cf-connecting-ip")?.peer.address).toBe(UNKNOWN_ADDRESS);
    expect(read({ cf: { clientIp: "somewhere" } })?.peer.address).toBe(UNKNOWN_ADDRESS);
  });
});
