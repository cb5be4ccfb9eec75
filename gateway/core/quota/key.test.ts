import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QuotaKeyPart } from "../ir/index.ts";
import type { RequestView } from "../match/request.ts";
import type { PeerInfo } from "../ports.ts";
import { bounded, compileKeyPart, MAX_PLAIN_KEY_CHARS } from "./key.ts";
import { compilePathTemplate } from "./path-template.ts";

const PEER: PeerInfo = { address: "192.0.2.7", port: 1234, principal: "spiffe://mesh/ns/a/sa/b" };

function request(over: Partial<RequestView>): RequestView {
  return { method: "GET", scheme: "http", authority: "a.test", path: "/", query: "", fields: [], servicePort: 80, ...over };
}

function read(part: QuotaKeyPart, over: Partial<RequestView> = {}, peer = PEER, trustedProxies = 0): string | undefined {
  return compileKeyPart(part, trustedProxies).read(request(over), peer);
}

describe("header key", () => {
  const user = { kind: "header", name: "X-User" } as const;

  it.each([
    [["x-user", "jason"], "jason"],
    [["x-user", "jason\t"], "jason"],
    [["x-user", " \t jason \t"], "jason"],
    [["x-user", "a", "other", "z", "x-user", "b"], "a, b"],
    [["x-user", "a,b"], "a, b"],
    [["x-user", "a ,\tb, ,"], "a, b"],
    [["x-user", "jason", "x-user", ""], "jason"],
    [["x-user", ""], undefined],
    [["x-user", " \t"], undefined],
    [["x-users", "jason"], undefined],
    [["x-user", "Jason"], "Jason"],
    [["x-user", "a b"], "a b"],
  ] as const)("%j is %j", (fields, key) => {
    expect(read(user, { fields })).toBe(key);
  });

  it("keeps different values apart, and reads configuration as it reads requests", () => {
    const token = fc.stringMatching(/^[!-+.-~]{1,20}$/);
    const pad = fc.stringMatching(/^[ \t]{0,3}$/);
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 4 }), pad, pad, (values, before, after) => {
        const lines = values.flatMap((value) => ["x-user", before + value + after]);
        expect(read(user, { fields: lines })).toBe(values.join(", "));
        expect(compileKeyPart(user, 0).canonical(values.map((value) => before + value + after).join(","))).toBe(
          values.join(", "),
        );
      }),
    );
  });
});

describe("client IP key", () => {
  const whole = { kind: "clientIp", v4Prefix: 32, v6Prefix: 64 } as const;
  const peer = (address: string) => ({ address, port: 1 });

  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::9", "2001:db8:1:2::/64"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
  ])("%s is %s", (address, key) => {
    expect(read(whole, {}, peer(address))).toBe(key);
  });

  it("cuts to the prefix, also inside a byte", () => {
    const reader = compileKeyPart({ kind: "clientIp", v4Prefix: 20, v6Prefix: 49 }, 0);
    expect(reader.read(request({}), peer("10.1.255.9"))).toBe("10.1.240.0/20");
    expect(reader.read(request({}), peer("2001:db8:0:ffff::1"))).toBe("2001:db8:0:8000::/49");
    expect(reader.canonical("10.1.250.0/20")).toBe("10.1.240.0/20");
  });

  it("trusts as many hops as told, and no more", () => {
    const fields = ["x-forwarded-for", "6.6.6.6, 203.0.113.1", "x-forwarded-for", "198.51.100.2"];
    expect(read(whole, { fields }, PEER, 0)).toBe("192.0.2.7");
    expect(read(whole, { fields }, PEER, 1)).toBe("198.51.100.2");
    expect(read(whole, { fields }, PEER, 2)).toBe("203.0.113.1");
    expect(read(whole, { fields: ["x-forwarded-for", "nonsense"] }, PEER, 1)).toBe("192.0.2.7");
  });
});

describe("other keys", () => {
  it("query parameters are decoded, trimmed and joined", () => {
    const q = { kind: "query", name: "api key" } as const;
    expect(read(q, { query: "x=1&api%20key=a%20b&api+key=+c%09" })).toBe("a b, c");
    expect(read(q, { query: "api+key=%zz" })).toBe("%zz");
    expect(read(q, { query: "api+key" })).toBeUndefined();
    expect(read(q)).toBeUndefined();
  });

  it("cookies lose their quotes", () => {
    const cookie = { kind: "cookie", name: "sid" } as const;
    expect(read(cookie, { fields: ["cookie", 'a=1; sid="x y" ; b'] })).toBe("x y");
    expect(read(cookie, { fields: ["cookie", "sid=1", "cookie", "sid=2; xsid=3"] })).toBe("1, 2");
    expect(read(cookie, { fields: ["cookie", "sid="] })).toBeUndefined();
  });

  it("identity is the verified one, or missing", () => {
    expect(read({ kind: "identity" })).toBe(PEER.principal);
    expect(read({ kind: "identity" }, {}, { address: "::1", port: 1 })).toBeUndefined();
  });

  it("path variables come from their template", () => {
    const part = { kind: "pathVariable", name: "user", template: "/users/{user}/*/**" } as const;
    expect(read(part, { path: "/users/al%69ce/orders/1/2" })).toBe("alice");
    expect(read(part, { path: "/users/alice/orders" })).toBe("alice");
    expect(read(part, { path: "/users/alice" })).toBeUndefined();
    expect(read(part, { path: "/people/alice/orders" })).toBeUndefined();
    expect(read(part, { path: "/users//orders" })).toBeUndefined();
    expect(read({ ...part, template: "/users/{user}" }, { path: "/users/a/b" })).toBeUndefined();
    expect(() => compileKeyPart({ ...part, name: "nobody" }, 0)).toThrow(RangeError);
  });

  it.each(["users", "/a/{b", "/{a}/{a}", "/**/a", "/a*"])("refuses the template %s", (template) => {
    expect(() => compilePathTemplate(template)).toThrow(RangeError);
  });
});

describe("long keys", () => {
  it("are hashed beyond MAX_PLAIN_KEY_CHARS, and none meets another or a plain one", () => {
    const plain = "x".repeat(MAX_PLAIN_KEY_CHARS);
    expect(bounded(plain)).toBe(plain);
    const seen = new Set([plain]);
    for (let i = 0; i < 500; i++) seen.add(bounded(`${plain}${"y".repeat(i)}`.padEnd(65 + i, "z")));
    seen.add(bounded(bounded(`${plain}y`)));
    expect(seen.size).toBe(502);
    for (const key of seen) expect(key.length).toBeLessThanOrEqual(71);
  });
});
