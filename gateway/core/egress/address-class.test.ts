import { describe, expect, it } from "vitest";
import { formatAddress, type IpAddress, parseAddress } from "./address.ts";
import { classifyAddress, SPECIAL_RANGES } from "./address-class.ts";

function classOf(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) throw new TypeError(text);
  return classifyAddress(address).class;
}

// Range, its first and last address, and what is just outside: before and after.
const EDGES: readonly (readonly [first: string, last: string, name: string, before: string, after: string])[] = [
  ["0.0.0.1", "0.255.255.255", "this_network", "unspecified 0.0.0.0", "public 1.0.0.0"],
  ["10.0.0.0", "10.255.255.255", "private", "public 9.255.255.255", "public 11.0.0.0"],
  ["100.64.0.0", "100.127.255.255", "shared", "public 100.63.255.255", "public 100.128.0.0"],
  ["127.0.0.0", "127.255.255.255", "loopback", "public 126.255.255.255", "public 128.0.0.0"],
  ["169.254.0.0", "169.254.255.255", "link_local", "public 169.253.255.255", "public 169.255.0.0"],
  ["172.16.0.0", "172.31.255.255", "private", "public 172.15.255.255", "public 172.32.0.0"],
  ["192.0.0.0", "192.0.0.255", "protocol_assignment", "public 191.255.255.255", "public 192.0.1.0"],
  ["192.0.2.0", "192.0.2.255", "documentation", "public 192.0.1.255", "public 192.0.3.0"],
  ["192.88.99.0", "192.88.99.255", "relay_anycast", "public 192.88.98.255", "public 192.88.100.0"],
  ["192.168.0.0", "192.168.255.255", "private", "public 192.167.255.255", "public 192.169.0.0"],
  ["198.18.0.0", "198.19.255.255", "benchmarking", "public 198.17.255.255", "public 198.20.0.0"],
  ["198.51.100.0", "198.51.100.255", "documentation", "public 198.51.99.255", "public 198.51.101.0"],
  ["203.0.113.0", "203.0.113.255", "documentation", "public 203.0.112.255", "public 203.0.114.0"],
  ["224.0.0.0", "239.255.255.255", "multicast", "public 223.255.255.255", "reserved 240.0.0.0"],
  ["240.0.0.0", "255.255.255.254", "reserved", "multicast 239.255.255.255", "broadcast 255.255.255.255"],
  ["::2", "::ffff:ffff", "compatible", "loopback ::1", "unassigned ::1:0:0"],
  ["::ffff:0:0", "::ffff:ffff:ffff", "mapped", "unassigned ::fffe:ffff:ffff", "unassigned ::1:0:0:0"],
  ["::ffff:0:0:0", "::ffff:0:ffff:ffff", "translated", "unassigned ::fffe:ffff:ffff:ffff", "unassigned ::ffff:1:0:0"],
  ["64:ff9b::", "64:ff9b::ffff:ffff", "nat64", "unassigned 64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "unassigned 64:ff9b::1:0:0"],
  [
    "64:ff9b:1::",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "nat64",
    "unassigned 64:ff9b:0:ffff:ffff:ffff:ffff:ffff",
    "unassigned 64:ff9b:2::",
  ],
  ["100::", "100::ffff:ffff:ffff:ffff", "discard", "unassigned ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "discard 100:0:0:1::"],
  ["100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", "discard", "discard 100::ffff:ffff:ffff:ffff", "unassigned 100:0:0:2::"],
  [
    "2001::",
    "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
    "teredo",
    "public 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "protocol_assignment 2001:1::",
  ],
  [
    "2001:2::",
    "2001:2:0:ffff:ffff:ffff:ffff:ffff",
    "benchmarking",
    "protocol_assignment 2001:1:ffff::",
    "protocol_assignment 2001:2:1::",
  ],
  ["2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "orchid", "protocol_assignment 2001:f::", "orchid 2001:20::"],
  ["2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "orchid", "orchid 2001:1f::", "protocol_assignment 2001:30::"],
  ["2001:30::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocol_assignment", "orchid 2001:2f::", "public 2001:200::"],
  ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", "public 2001:db7:ffff::", "public 2001:db9::"],
  ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4", "public 2001:ffff::", "public 2003::"],
  ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", "public 3ffe:ffff::", "public 3fff:1000::"],
  ["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment_routing", "unassigned 5eff:ffff::", "unassigned 5f01::"],
  ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique_local", "unassigned fbff:ffff::", "unassigned fe00::"],
  ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link_local", "unassigned fe7f:ffff::", "site_local fec0::"],
  ["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site_local", "link_local febf:ffff::", "multicast ff00::"],
  ["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", "site_local feff:ffff::", "public 2606:4700::1111"],
  ["4000::", "4000::1", "unassigned", "public 3fff:ffff::", "unassigned 4001::"],
];

describe("classifyAddress", () => {
  it.each(EDGES)("%s to %s is %s, and nothing beyond", (first, last, name, before, after) => {
    expect(classOf(first)).toBe(name);
    expect(classOf(last)).toBe(name);
    for (const outside of [before, after]) {
      const [expected, address] = outside.split(" ");
      expect(classOf(address ?? "")).toBe(expected);
    }
  });

  it.each([
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
  ])("%s is a cloud's metadata address", (text) => {
    expect(classOf(text)).toBe("metadata");
  });

  it("knows the neighbours of 168.63.129.16 as public", () => {
    expect(classOf("168.63.129.15")).toBe("public");
    expect(classOf("168.63.129.17")).toBe("public");
  });

  it("finds ISATAP under any prefix, with both forms of the identifier", () => {
    expect(classOf("2a00:1450:4001:81b:0:5efe:a00:1")).toBe("isatap");
    expect(classOf("2a00:1450:4001:81b:200:5efe:808:808")).toBe("isatap");
    expect(classOf("2a00:1450:4001:81b:100:5efe:a00:1")).toBe("public");
  });

  it.each([
    ["::ffff:a00:1", ["10.0.0.1"]],
    ["::a00:1", ["10.0.0.1"]],
    ["::ffff:0:a00:1", ["10.0.0.1"]],
    ["64:ff9b::a9fe:a9fe", ["169.254.169.254"]],
    ["2002:a00:1::", ["10.0.0.1"]],
    ["2001:0:a00:1::f5ff:fffe", ["10.0.0.1", "10.0.0.1"]],
    ["2a00::5efe:a00:1", ["10.0.0.1"]],
    ["64:ff9b:1::808:808", ["8.8.8.8"]],
    ["64:ff9b:1:a00:0:100::", ["0.0.0.0", "10.0.0.1"]],
  ] as const)("%s carries %j", (text, inner) => {
    const address = parseAddress(text) as IpAddress;
    expect(classifyAddress(address).embedded.map(formatAddress)).toEqual(expect.arrayContaining([...inner]));
  });

  it("gives a reason for every range, and none without a name for its document or cloud", () => {
    for (const entry of SPECIAL_RANGES) expect(entry.reason).toMatch(/RFC \d+|AWS|Azure|Alibaba|Oracle|Google/);
  });
});
