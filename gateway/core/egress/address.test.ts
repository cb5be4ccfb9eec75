import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { describe, expect, it } from "vitest";
import { formatAddress, type IpAddress, inCidr, parseAddress, parseCidr, unmapped } from "./address.ts";

describe("parseAddress", () => {
  it.each([
    "",
    "1",
    "127.1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.4.",
    ".1.2.3.4",
    "01.2.3.4",
    "1.2.3.04",
    "0x7f.0.0.1",
    "256.0.0.1",
    "1.2.3.-4",
    " 1.2.3.4",
    "1.2.3.4\n",
    "١.2.3.4",
    "2130706433",
    ":",
    ":::",
    "1::2::3",
    "::%1",
    "fe80::1%eth0",
    "[::1]",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "::12345",
    "::g",
    "::1.2.3",
    "::1.2.3.4.5",
    "1.2.3.4::",
    "::ffff:1.2.3.04",
  ])("refuses %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it("agrees with ipaddr.js on IPv6 of any value", () => {
    const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const text = formatAddress({ family: 6, groups });
        expect(ipaddr.IPv6.parse(text).parts).toEqual(groups);
        expect(parseAddress(text)).toEqual({ family: 6, groups });
        expect(parseAddress(new ipaddr.IPv6(groups).toNormalizedString())).toEqual({ family: 6, groups });
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it("reads and writes IPv4 of any value", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (value) => {
        expect(parseAddress(formatAddress({ family: 4, value }))).toEqual({ family: 4, value });
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it("takes a dual-stack peer's IPv4 out of its mapped form, and leaves others alone", () => {
    expect(formatAddress(unmapped(parseAddress("::ffff:127.0.0.1") as IpAddress))).toBe("127.0.0.1");
    expect(formatAddress(unmapped(parseAddress("::7f00:1") as IpAddress))).toBe("::7f00:1");
  });
});

describe("parseCidr", () => {
  it.each(["10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/08", "10.0.0/8", "::/129", "2001:db8::1/32", "/8", "a/8"])(
    "refuses %s",
    (text) => {
      expect(parseCidr(text)).toBeUndefined();
    },
  );

  it("agrees with ipaddr.js about who is inside", () => {
    const v4 = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(v4, v4, fc.integer({ min: 0, max: 32 }), (a, b, bits) => {
        const size = 2 ** (32 - bits);
        const base = formatAddress({ family: 4, value: Math.floor(a / size) * size });
        const cidr = parseCidr(`${base}/${bits}`)!;
        const near = { family: 4, value: b % 4 < 2 ? b : Math.floor(a / size) * size + (b % size) } as const;
        expect(inCidr(cidr, near)).toBe(ipaddr.IPv4.parse(formatAddress(near)).match(ipaddr.IPv4.parse(base), bits));
      }),
      { numRuns: 500, seed: 2 },
    );
  });

  it("never takes one family for the other", () => {
    expect(inCidr(parseCidr("0.0.0.0/0")!, parseAddress("::ffff:1.2.3.4") as IpAddress)).toBe(false);
    expect(inCidr(parseCidr("::/0")!, parseAddress("1.2.3.4") as IpAddress)).toBe(false);
  });
});
