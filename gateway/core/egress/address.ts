/** IP addresses and ranges: one strict spelling in, one canonical spelling out. */
export type IpAddress = Ipv4Address | Ipv6Address;

export interface Ipv4Address {
  readonly family: 4;
  /** Unsigned 32 bit. */
  readonly value: number;
}

export interface Ipv6Address {
  readonly family: 6;
  /** Eight groups of 16 bits. */
  readonly groups: readonly number[];
}

/** A range of addresses. Built once by {@link parseCidr}; `bits` counts the leading bits that are fixed. */
export interface Cidr {
  readonly base: IpAddress;
  readonly bits: number;
  readonly text: string;
}

const IPV6_GROUPS = 8;
const DOT = 46;
const ZERO = 48;

/** Strict dotted decimal (RFC 3986 3.2.2 `IPv4address`): four decimal parts, no leading zeros, nothing else. */
export function parseIpv4(text: string): Ipv4Address | undefined {
  if (text.length < 7 || text.length > 15) return undefined;
  let value = 0;
  let part = -1;
  let parts = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i === text.length ? DOT : text.charCodeAt(i);
    if (code === DOT) {
      if (part < 0) return undefined;
      value = value * 256 + part;
      parts += 1;
      part = -1;
      continue;
    }
    const digit = code - ZERO;
    // A part that already is 0 and goes on has a leading zero, which other parsers read as octal.
    if (digit < 0 || digit > 9 || part === 0) return undefined;
    part = part < 0 ? digit : part * 10 + digit;
    if (part > 255) return undefined;
  }
  return parts === 4 ? { family: 4, value } : undefined;
}

/** RFC 4291 2.2 text without brackets or zone. Any legal spelling is read; compare with {@link formatAddress} to demand the canonical one. */
export function parseIpv6(text: string): Ipv6Address | undefined {
  if (text.length < 2 || text.length > 45) return undefined;
  const gap = text.indexOf("::");
  if (gap === -1) {
    const groups = readGroups(text, true);
    return groups?.length === IPV6_GROUPS ? { family: 6, groups } : undefined;
  }
  if (text.indexOf("::", gap + 1) !== -1) return undefined;
  const head = gap === 0 ? [] : readGroups(text.slice(0, gap), false);
  const tail = gap + 2 === text.length ? [] : readGroups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined || head.length + tail.length >= IPV6_GROUPS) return undefined;
  const zeros = new Array<number>(IPV6_GROUPS - head.length - tail.length).fill(0);
  return { family: 6, groups: [...head, ...zeros, ...tail] };
}

const GROUP = /^[0-9a-fA-F]{1,4}$/;

function readGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes(".")) {
      const v4 = parseIpv4(part);
      if (v4 === undefined) return undefined;
      groups.push(Math.floor(v4.value / 0x10000), v4.value & 0xffff);
      continue;
    }
    if (!GROUP.test(part)) return undefined;
    groups.push(Number.parseInt(part, 16));
  }
  return groups;
}

/** An address in any legal spelling, without brackets or zone; undefined when it is none. */
export function parseAddress(text: string): IpAddress | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** RFC 5952 text for IPv6, save that embedded IPv4 is written in hexadecimal groups as WHATWG URL does; dotted decimal for IPv4. */
export function formatAddress(address: IpAddress): string {
  if (address.family === 4) return formatIpv4(address.value);
  const { groups } = address;
  const run = longestZeroRun(groups);
  if (run.length < 2) return groups.map(hex).join(":");
  const head = groups.slice(0, run.start).map(hex).join(":");
  const tail = groups
    .slice(run.start + run.length)
    .map(hex)
    .join(":");
  return `${head}::${tail}`;
}

function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

function hex(group: number): string {
  return group.toString(16);
}

/** RFC 5952 4.2.3: the longest run of zero groups is shortened, the first one of equals. */
function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

/** `address/bits`; a bare address is a range of one. Undefined when it is neither, or when bits beyond the prefix are set. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const base = parseAddress(slash === -1 ? text : text.slice(0, slash));
  if (base === undefined) return undefined;
  const width = base.family === 4 ? 32 : 128;
  const length = slash === -1 ? String(width) : text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined;
  const bits = Number(length);
  if (bits > width) return undefined;
  const cidr = { base, bits, text: `${formatAddress(base)}/${bits}` };
  return lowBitsClear(cidr) ? cidr : undefined;
}

function lowBitsClear(cidr: Cidr): boolean {
  const { base, bits } = cidr;
  if (base.family === 4) return bits === 32 || base.value % 2 ** (32 - bits) === 0;
  return base.groups.every((group, index) => {
    const fixed = Math.min(16, Math.max(0, bits - index * 16));
    return group % 2 ** (16 - fixed) === 0;
  });
}

/** True when the address is of the range's family and inside it: a mapped IPv4 address is in no IPv4 range. */
export function inCidr(cidr: Cidr, address: IpAddress): boolean {
  const { base, bits } = cidr;
  if (base.family === 4) {
    if (address.family !== 4) return false;
    const size = 2 ** (32 - bits);
    return Math.floor(address.value / size) === Math.floor(base.value / size);
  }
  if (address.family !== 6) return false;
  let left = bits;
  for (let i = 0; left > 0; i++, left -= 16) {
    const size = 2 ** (16 - Math.min(16, left));
    if (Math.floor((address.groups[i] ?? 0) / size) !== Math.floor((base.groups[i] ?? 0) / size)) return false;
  }
  return true;
}

/** The IPv4 address in two neighbouring groups. */
export function ipv4At(address: Ipv6Address, index: number): Ipv4Address {
  return { family: 4, value: (address.groups[index] ?? 0) * 0x10000 + (address.groups[index + 1] ?? 0) };
}

/** A dual-stack socket shows an IPv4 peer as `::ffff:a.b.c.d`; rules about peers mean the IPv4 address. */
export function unmapped(address: IpAddress): IpAddress {
  if (address.family === 4) return address;
  const { groups } = address;
  const mapped = groups[5] === 0xffff && groups.every((group, index) => index > 4 || group === 0);
  return mapped ? ipv4At(address, 6) : address;
}
