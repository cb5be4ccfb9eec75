/**
 * Which addresses are not for reaching from an egress gateway, and why.
 *
 * Ranges: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and what updates it), multicast, every form of IPv6 that
 * carries an IPv4 address, and addresses at which clouds hand out credentials. IPv6 outside 2000::/3 is refused as a whole
 * (RFC 4291 2.4: not global unicast as assigned today). 192.0.0.0/24 and 2001::/23 are refused whole, although a few anycast services in
 * them are globally reachable: none is an origin.
 */
import { type Cidr, type IpAddress, type Ipv4Address, inCidr, ipv4At, parseCidr } from "./address.ts";

type AddressClass =
  | "public"
  | "metadata"
  | "unspecified"
  | "this_network"
  | "private"
  | "shared"
  | "loopback"
  | "link_local"
  | "protocol_assignment"
  | "documentation"
  | "relay_anycast"
  | "benchmarking"
  | "multicast"
  | "reserved"
  | "broadcast"
  | "mapped"
  | "compatible"
  | "translated"
  | "nat64"
  | "discard"
  | "teredo"
  | "orchid"
  | "6to4"
  | "isatap"
  | "segment_routing"
  | "unique_local"
  | "site_local"
  | "unassigned";

export interface Classified {
  readonly class: AddressClass;
  /** For people: what this address is, with the document that says so. Empty for `public`. */
  readonly reason: string;
  /** IPv4 addresses carried inside, each of which has to be judged too. */
  readonly embedded: readonly Ipv4Address[];
}

interface SpecialRange {
  readonly cidr: Cidr;
  readonly class: AddressClass;
  readonly reason: string;
}

function range(text: string, name: AddressClass, reason: string): SpecialRange {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new TypeError(`not a range: ${text}`);
  return { cidr, class: name, reason };
}

/** Most telling first: an address has the class of the first range that holds it. */
export const SPECIAL_RANGES: readonly SpecialRange[] = [
  range("169.254.169.254/32", "metadata", "instance metadata of AWS, Azure, Google Cloud and others"),
  range("169.254.170.2/32", "metadata", "AWS container credentials"),
  range("169.254.170.23/32", "metadata", "AWS pod identity credentials"),
  range("168.63.129.16/32", "metadata", "Azure platform address"),
  range("100.100.100.200/32", "metadata", "Alibaba Cloud instance metadata"),
  range("192.0.0.192/32", "metadata", "Oracle Cloud instance metadata"),
  range("fd00:ec2::254/128", "metadata", "AWS instance metadata"),
  range("fd00:ec2::23/128", "metadata", "AWS pod identity credentials"),
  range("fd20:ce::254/128", "metadata", "Google Cloud instance metadata"),
  range("0.0.0.0/32", "unspecified", "unspecified address (RFC 1122)"),
  range("0.0.0.0/8", "this_network", "this network (RFC 791)"),
  range("10.0.0.0/8", "private", "private use (RFC 1918)"),
  range("100.64.0.0/10", "shared", "shared address space of carriers (RFC 6598)"),
  range("127.0.0.0/8", "loopback", "loopback (RFC 1122)"),
  range("169.254.0.0/16", "link_local", "link local (RFC 3927)"),
  range("172.16.0.0/12", "private", "private use (RFC 1918)"),
  range("192.0.0.0/24", "protocol_assignment", "IETF protocol assignments (RFC 6890)"),
  range("192.0.2.0/24", "documentation", "documentation (RFC 5737)"),
  range("192.88.99.0/24", "relay_anycast", "6to4 relay anycast (RFC 7526)"),
  range("192.168.0.0/16", "private", "private use (RFC 1918)"),
  range("198.18.0.0/15", "benchmarking", "benchmarking (RFC 2544)"),
  range("198.51.100.0/24", "documentation", "documentation (RFC 5737)"),
  range("203.0.113.0/24", "documentation", "documentation (RFC 5737)"),
  range("224.0.0.0/4", "multicast", "multicast (RFC 5771)"),
  range("255.255.255.255/32", "broadcast", "limited broadcast (RFC 919)"),
  range("240.0.0.0/4", "reserved", "reserved (RFC 1112)"),
  range("::/128", "unspecified", "unspecified address (RFC 4291)"),
  range("::1/128", "loopback", "loopback (RFC 4291)"),
  range("::ffff:0:0/96", "mapped", "IPv4-mapped (RFC 4291)"),
  range("::ffff:0:0:0/96", "translated", "IPv4-translated (RFC 2765)"),
  range("::/96", "compatible", "IPv4-compatible (RFC 4291)"),
  range("64:ff9b::/96", "nat64", "NAT64 well-known prefix (RFC 6052)"),
  range("64:ff9b:1::/48", "nat64", "NAT64 local-use prefix (RFC 8215)"),
  range("100::/64", "discard", "discard only (RFC 6666)"),
  range("100:0:0:1::/64", "discard", "dummy prefix (RFC 9780)"),
  range("2001::/32", "teredo", "Teredo (RFC 4380)"),
  range("2001:2::/48", "benchmarking", "benchmarking (RFC 5180)"),
  range("2001:10::/28", "orchid", "ORCHID (RFC 4843)"),
  range("2001:20::/28", "orchid", "ORCHIDv2 (RFC 7343)"),
  range("2001::/23", "protocol_assignment", "IETF protocol assignments (RFC 2928)"),
  range("2001:db8::/32", "documentation", "documentation (RFC 3849)"),
  range("2002::/16", "6to4", "6to4 (RFC 3056)"),
  range("3fff::/20", "documentation", "documentation (RFC 9637)"),
  range("5f00::/16", "segment_routing", "segment routing identifiers (RFC 9602)"),
  range("fc00::/7", "unique_local", "unique local (RFC 4193)"),
  range("fe80::/10", "link_local", "link local (RFC 4291)"),
  range("fec0::/10", "site_local", "site local (RFC 3879)"),
  range("ff00::/8", "multicast", "multicast (RFC 4291)"),
];

const V4_RANGES = SPECIAL_RANGES.filter((entry) => entry.cidr.base.family === 4);
const V6_RANGES = SPECIAL_RANGES.filter((entry) => entry.cidr.base.family === 6);
const GLOBAL_UNICAST_V6 = range("2000::/3", "public", "").cidr;

const NOTHING: readonly Ipv4Address[] = [];
const PUBLIC: Classified = { class: "public", reason: "", embedded: NOTHING };
const UNASSIGNED: Classified = { class: "unassigned", reason: "not assigned as global unicast (RFC 4291)", embedded: NOTHING };

/** What kind of address this is. Everything but `public` is refused unless a rule's `addresses` opens it. */
export function classifyAddress(address: IpAddress): Classified {
  const ranges = address.family === 4 ? V4_RANGES : V6_RANGES;
  for (const entry of ranges) {
    if (inCidr(entry.cidr, address)) {
      return { class: entry.class, reason: entry.reason, embedded: embeddedIn(entry.class, address) };
    }
  }
  if (address.family === 4) return PUBLIC;
  if (!inCidr(GLOBAL_UNICAST_V6, address)) return UNASSIGNED;
  if (isIsatap(address.groups)) return { class: "isatap", reason: "ISATAP (RFC 5214)", embedded: [ipv4At(address, 6)] };
  return PUBLIC;
}

/** RFC 5214 6.1: interface identifier 00-00-5E-FE (or, with the universal bit, 02-00-5E-FE) before the IPv4 address. */
function isIsatap(groups: readonly number[]): boolean {
  return groups[5] === 0x5efe && (groups[4] === 0 || groups[4] === 0x0200);
}

function embeddedIn(kind: AddressClass, address: IpAddress): readonly Ipv4Address[] {
  if (address.family === 4) return NOTHING;
  switch (kind) {
    case "mapped":
    case "compatible":
    case "translated":
      return [ipv4At(address, 6)];
    case "nat64":
      return nat64Embedded(address.groups);
    case "6to4":
      return [ipv4At(address, 1)];
    case "teredo": {
      // RFC 4380 4: the server's address, and the client's with every bit turned.
      const client = ipv4At(address, 6);
      return [ipv4At(address, 2), { family: 4, value: 0xffffffff - client.value }];
    }
    default:
      return NOTHING;
  }
}

/**
 * RFC 6052 2.2. Under the local-use prefix an operator may choose /48, /56, /64 or /96; which one cannot be seen in the address, so all four places are judged.
 * Octet 8 (the high half of group 4) is skipped by the shorter layouts.
 */
function nat64Embedded(groups: readonly number[]): readonly Ipv4Address[] {
  const g = (index: number): number => groups[index] ?? 0;
  const at96: Ipv4Address = { family: 4, value: g(6) * 0x10000 + g(7) };
  if (g(2) !== 1) return [at96];
  const low = (group: number): number => group & 0xff;
  const high = (group: number): number => group >>> 8;
  const at48 = g(3) * 0x10000 + low(g(4)) * 0x100 + high(g(5));
  const at56 = low(g(3)) * 0x1000000 + low(g(4)) * 0x10000 + g(5);
  const at64 = low(g(4)) * 0x1000000 + g(5) * 0x100 + high(g(6));
  // Below 1.0.0.0 there is nothing to reach: such a reading only says that this layout is not the one in use.
  const others = [at48, at56, at64].filter((value) => value >= 0x1000000);
  return [at96, ...others.map((value): Ipv4Address => ({ family: 4, value }))];
}
