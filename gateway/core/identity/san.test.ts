import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasAltName, MAX_ALT_NAMES, parseAltNames } from "./san.ts";

describe("names out of text", () => {
  test("plain ones of every kind", () => {
    expect(parseAltNames("DNS:a.test, URI:spiffe://mesh/ns/x/sa/y, IP Address:10.0.0.1, email:a@b.test, DirName:CN = x")).toEqual(
      [
        { type: "dns", value: "a.test" },
        { type: "uri", value: "spiffe://mesh/ns/x/sa/y" },
        { type: "ip", value: "10.0.0.1" },
        { type: "email", value: "a@b.test" },
        { type: "other", value: "CN = x" },
      ],
    );
    expect(parseAltNames("")).toEqual([]);
  });

  test.each<[string, string, string]>([
    ["a comma", 'DNS:"a.test, DNS:bank.test"', "a.test, DNS:bank.test"],
    ["a quote", String.raw`URI:"spiffe://mesh/x\", URI:spiffe://mesh/admin"`, 'spiffe://mesh/x", URI:spiffe://mesh/admin'],
    ["a null byte", String.raw`DNS:"bank.test\u0000.evil.test"`, "bank.test\u0000.evil.test"],
    ["a line break", String.raw`DNS:"bank.test\nDNS:b"`, "bank.test\nDNS:b"],
    ["other letters", String.raw`DNS:"b\u00e4nk.test"`, "bänk.test"],
  ])("%s in a name makes it no second name", (_, text, value) => {
    expect(parseAltNames(text)).toEqual([{ type: text.startsWith("DNS") ? "dns" : "uri", value }]);
    expect(hasAltName(parseAltNames(text) ?? [], ["bank.test", "spiffe://mesh/admin", "b"])).toBe(false);
  });

  test.each([
    "DNS",
    "a.test",
    "DNS:a.test,",
    "DNS:a.test, ",
    "DNS:a.test,DNS:b.test",
    'DNS:"a.test',
    'DNS:a"b',
    'DNS:"a" b',
    "DNS:a\u0000b",
    "DNS:ä.test",
    " DNS:a",
    "DNS:a\nDNS:b",
  ])("%j is no list, so there are no names", (text) => {
    expect(parseAltNames(text)).toBeUndefined();
  });

  test("so many and no more", () => {
    const list = (count: number) => Array.from({ length: count }, (_, i) => `DNS:h${i}`).join(", ");
    expect(parseAltNames(list(MAX_ALT_NAMES))).toHaveLength(MAX_ALT_NAMES);
    expect(parseAltNames(list(MAX_ALT_NAMES + 1))).toBeUndefined();
  });

  test("any name that is written as the runtime writes it comes back as one name", () => {
    const property = fc.property(fc.array(fc.string({ unit: "binary-ascii" }), { minLength: 1, maxLength: 5 }), (values) => {
      const text = values.map((value) => `URI:${/^[^,"\\'\u0000-\u001f\u007f]*$/.test(value) ? value : JSON.stringify(value)}`);
      expect(parseAltNames(text.join(", "))?.map(({ value }) => value)).toEqual(values);
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe("one of the names wanted", () => {
  const names =
    parseAltNames("DNS:Shop.Test, DNS:*.api.test, DNS:*.test, URI:spiffe://mesh/x, IP Address:10.0.0.1, othername:a.test") ?? [];
  test.each<[string, boolean]>([
    ["shop.test", true],
    ["v1.api.test", true],
    ["a.v1.api.test", false],
    [".api.test", false],
    ["api.test", false],
    ["other.test", false],
    ["spiffe://mesh/x", true],
    ["SPIFFE://mesh/x", false],
    ["spiffe://mesh", false],
    ["10.0.0.1", true],
    ["a.test", false],
  ])("%s: %s", (wanted, found) => {
    expect(hasAltName(names, [wanted])).toBe(found);
  });
});
