import { describe, expect, it } from "vitest";
import { splitProxyUrl, splitUrl, urlOf } from "./egress-target.ts";

describe("splitUrl", () => {
  it.each([
    ["https://api.example.com/v1/x?y=1", { scheme: "https", authority: "api.example.com", target: "/v1/x?y=1" }],
    ["http://API.example.com:8080/", { scheme: "http", authority: "api.example.com:8080", target: "/" }],
    ["https://api.example.com/a/../b//c", { scheme: "https", authority: "api.example.com", target: "/a/../b//c" }],
    ["https://x:y@api.example.com/", { scheme: "https", authority: "x:y@api.example.com", target: "/" }],
    ["https://\u212aey.example.com/", { scheme: "https", authority: "\u212aey.example.com", target: "/" }],
  ])("%s", (url, expected) => {
    expect(splitUrl(url)).toEqual(expected);
  });

  it.each([
    "ftp://a.example/",
    "HTTPS://a.example/",
    "https:/a.example/",
    "https://a.example",
    "https://a.example?x",
    "https://a.example\\b/",
    "https://a.example/x#y",
    "a.example/",
  ])("takes %s for no URL", (url) => {
    expect(splitUrl(url)).toBeUndefined();
  });
});

describe("splitProxyUrl", () => {
  const SITE = "edge.example.com";

  it("finds the target in its path, the query included", () => {
    const url = `https://${SITE}/.tidegate/proxy/https/api.example.com/v1/x?y=/z`;
    expect(splitProxyUrl(url, SITE)).toEqual({ scheme: "https", authority: "api.example.com", target: "/v1/x?y=/z" });
  });

  it.each([
    "/",
    "/.tidegate/proxy/",
    "/.tidegate/proxy/https",
    "/.tidegate/proxy/https/api.example.com",
    "/.tidegate/proxy/HTTPS/api.example.com/",
    "/.tidegate//proxy/https/api.example.com/",
    "/.tidegate/proxy/https://api.example.com",
    "/x/.tidegate/proxy/https/api.example.com/",
  ])("is not asked by %s", (target) => {
    expect(splitProxyUrl(`https://${SITE}${target}`, SITE)).toBe("not_asked");
  });

  it("answers on its own host, and in the clear on the machine itself only", () => {
    const path = "/.tidegate/proxy/https/api.example.com/";
    expect(splitProxyUrl(`https://other.example.com${path}`, SITE)).toBe("not_asked");
    expect(splitProxyUrl(`https://${SITE}:8443${path}`, SITE)).toBe("not_asked");
    expect(splitProxyUrl(`http://${SITE}${path}`, SITE)).toBe("readable");
    for (const host of ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"]) {
      expect(splitProxyUrl(`http://${host}${path}`, host)).toMatchObject({ authority: "api.example.com" });
    }
    for (const host of ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:8080"]) {
      expect(splitProxyUrl(`http://${host}${path}`, host)).toBe("readable");
    }
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
