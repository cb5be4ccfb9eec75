import { describe, expect, test } from "vitest";
import { MAX_SPIFFE_ID_CHARS, MAX_TRUST_DOMAIN_CHARS, parseSpiffeId, principalOf } from "./spiffe.ts";

test("an id is its trust domain and its path", () => {
  expect(parseSpiffeId("spiffe://cluster.local/ns/shop/sa/web")).toEqual({
    trustDomain: "cluster.local",
    path: ["ns", "shop", "sa", "web"],
  });
  expect(parseSpiffeId("spiffe://cluster.local")).toEqual({ trustDomain: "cluster.local", path: [] });
});

test.each([
  "",
  "spiffe://",
  "spiffe:///x",
  "SPIFFE://mesh/x",
  "spiffe://Mesh/x",
  "spiffe://mesh:8443/x",
  "spiffe://user@mesh/x",
  "spiffe://mesh/x/",
  "spiffe://mesh//x",
  "spiffe://mesh/./x",
  "spiffe://mesh/../x",
  "spiffe://mesh/x?y",
  "spiffe://mesh/x#y",
  "spiffe://mesh/%78",
  "spiffe://mesh/x y",
  "spiffe://mesh/x\u0000",
  "https://mesh/x",
  "spiffe://mésh/x",
])("%j is none", (text) => {
  expect(parseSpiffeId(text)).toBeUndefined();
});

test("ids and trust domains have a longest", () => {
  const domain = "d".repeat(MAX_TRUST_DOMAIN_CHARS);
  expect(parseSpiffeId(`spiffe://${domain}/x`)).toBeDefined();
  expect(parseSpiffeId(`spiffe://d${domain}/x`)).toBeUndefined();
  const start = "spiffe://mesh/";
  expect(parseSpiffeId(start + "x".repeat(MAX_SPIFFE_ID_CHARS - start.length))).toBeDefined();
  expect(parseSpiffeId(start + "x".repeat(MAX_SPIFFE_ID_CHARS - start.length + 1))).toBeUndefined();
});

describe("who a certificate says somebody is", () => {
  const uri = (value: string) => ({ type: "uri", value }) as const;
  test("its one SPIFFE id", () => {
    expect(principalOf([{ type: "dns", value: "a.test" }, uri("spiffe://mesh/ns/a/sa/b")])).toBe("spiffe://mesh/ns/a/sa/b");
  });
  test.each([
    [[]],
    [[uri("https://a.test/")]],
    [[uri("spiffe://mesh/x"), uri("spiffe://mesh/y")]],
    [[uri("spiffe://mesh/x"), uri("https://a.test/")]],
    [[uri("spiffe://mesh")]],
    [[{ type: "dns", value: "spiffe://mesh/x" } as const]],
  ])("nobody: %j", (names) => {
    expect(principalOf(names)).toBeUndefined();
  });
});
