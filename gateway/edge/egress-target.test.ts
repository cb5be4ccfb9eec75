import { describe, expect, it } from "vitest";
import { splitProxyTarget, urlOf } from "./egress-target.ts";

describe("splitProxyTarget", () => {
  const SITE = "edge.example.com";
  const came = (target: string, authority = SITE, scheme: "http" | "https" = "https") =>
    splitProxyTarget({ scheme, authority, target }, SITE);

  it("finds the target in the path, the query included", () => {
    const parts = { scheme: "https", authority: "api.example.com", target: "/v1/x?y=/z" };
    expect(came("/.tidegate/proxy/https/api.example.com/v1/x?y=/z")).toEqual(parts);
    expect(came("/.tidegate/proxy/https/API.example.com/v1/x?y=/z")).toEqual(parts);
    expect(came("/.tidegate/proxy/http/api.example.com:8080//a/../b")).toMatchObject({ scheme: "http", target: "//a/../b" });
  });

  it.each([
    "/",
    "/x",
    "/.tidegate/relay",
    "/.tidegate//proxy/https/api.example.com/",
    "/x/.tidegate/proxy/https/api.example.com/",
  ])("is not asked by %s", (target) => {
    expect(came(target)).toBe("not_asked");
  });

  it.each([
    "/.tidegate/proxy/",
    "/.tidegate/proxy/https",
    "/.tidegate/proxy/https/api.example.com",
    "/.tidegate/proxy/HTTPS/api.example.com/",
    "/.tidegate/proxy/ftp/api.example.com/",
    "/.tidegate/proxy/https//api.example.com/",
    "/.tidegate/proxy/https://api.example.com/",
    "/.tidegate/proxy/https/x@api.example.com/",
    "/.tidegate/proxy/https/api%2eexample.com/",
    "/.tidegate/proxy/https/api.example.com:/",
  ])("takes %s for malformed", (target) => {
    expect(came(target)).toBe("malformed");
  });

  it("answers on its own host, and in the clear on the machine itself only", () => {
    const path = "/.tidegate/proxy/https/api.example.com/";
    expect(came(path, "other.example.com")).toBe("not_asked");
    expect(came(path, `${SITE}:8443`)).toBe("not_asked");
    expect(came(path, SITE, "http")).toBe("readable");
    const local = (host: string) => splitProxyTarget({ scheme: "http", authority: host, target: path }, host);
    for (const host of ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"]) {
      expect(local(host)).toMatchObject({ authority: "api.example.com" });
    }
    for (const host of ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:8080"]) expect(local(host)).toBe("readable");
  });
});

describe("urlOf", () => {
  it.each([
    ["https", "api.example.com", "/v1/x?y=1"],
    ["https", "api.example.com:443", "/"],
    ["http", "api.example.com:80", "/"],
    ["http", "api.example.com:443", "/"],
    ["https", "[2606:4700::1111]:8443", "/"],
    ["https", "api.example.com", "//evil.example/"],
    ["https", "api.example.com", "/\\evil.example/"],
  ] as const)("%s://%s%s is what a runtime reads", (scheme, authority, target) => {
    expect(urlOf({ scheme, authority, target })).toBe(`${scheme}://${authority}${target}`);
  });

  it.each([
    ["https", "x@api.example.com", "/"],
    ["https", "api.example.com", "@evil.example/"],
    ["https", "api.example.com", ".evil.example/"],
    ["https", "api.example.com", ":8443/"],
    ["https", "2130706433", "/"],
    ["https", "0177.0.0.1", "/"],
    ["https", "\u212aey.example.com", "/"],
    ["https", "api.example.com:99999", "/"],
    ["https", "", "/x/"],
  ] as const)("%s://%s%s is not, or is none", (scheme, authority, target) => {
    expect(urlOf({ scheme, authority, target })).toBeUndefined();
  });
});
