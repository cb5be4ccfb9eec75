/**
 * The PROXY protocol, versions 1 and 2, both ways: the first bytes of a connection say who the client is
 * (haproxy.org/download/3.0/doc/proxy-protocol.txt; sections below are that document's).
 *
 * A header is strictly read: what is not written as the document says is no header. Section 2: who expects one must not serve a connection without.
 */
import { addressBytes, addressText } from "../core/http/address.ts";

export interface ProxyProtocolLimits {
  /** A whole header, with what version 2 carries besides addresses. */
  readonly maxProxyHeaderBytes: number;
}

export const DEFAULT_PROXY_PROTOCOL_LIMITS: ProxyProtocolLimits = { maxProxyHeaderBytes: 4096 };

/** Section 2.1: the longest line of version 1, its CRLF included. */
export const MAX_PROXY_LINE_BYTES = 107;

export interface ProxyAddress {
  /** In canonical text form; an IPv4 address mapped into IPv6 is told as the IPv4 address that it is. */
  readonly address: string;
  readonly port: number;
}

export interface ProxyHeader {
  readonly version: 1 | 2;
  /** Undefined: the sender speaks for itself (LOCAL), or does not know (UNKNOWN, UNSPEC): the connection's own addresses count. */
  readonly source: ProxyAddress | undefined;
  readonly destination: ProxyAddress | undefined;
}

export type ProxyProtocolErrorCode = "missing" | "malformed" | "too_large" | "bad_checksum";

export type ProxyHeaderReading =
  | { readonly kind: "need" }
  /** `bytes`: length of the header; what follows is the connection's. */
  | { readonly kind: "header"; readonly header: ProxyHeader; readonly bytes: number }
  | { readonly kind: "error"; readonly code: ProxyProtocolErrorCode; readonly message: string };

const NEED: ProxyHeaderReading = { kind: "need" };
/** Section 2.2: twelve bytes that no other protocol begins with. */
const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const FIXED_BYTES = 16;
const LINE_START = "PROXY ";

/** @param bytes all that has come of the connection so far */
export function readProxyHeader(bytes: Uint8Array, limits = DEFAULT_PROXY_PROTOCOL_LIMITS): ProxyHeaderReading {
  if (bytes.length === 0) return NEED;
  return bytes[0] === SIGNATURE[0] ? readBinary(bytes, limits) : readLine(bytes);
}

function refused(code: ProxyProtocolErrorCode, message: string): ProxyHeaderReading {
  return { kind: "error", code, message };
}

// ── version 1 ────────────────────────────────────────────────────────────────

function readLine(bytes: Uint8Array): ProxyHeaderReading {
  for (let i = 0; i < Math.min(bytes.length, LINE_START.length); i++) {
    if (bytes[i] !== LINE_START.charCodeAt(i)) return refused("missing", "the connection does not begin with a PROXY header");
  }
  const end = bytes.indexOf(0x0a);
  if (end === -1 && bytes.length < MAX_PROXY_LINE_BYTES) return NEED;
  if (end === -1 || end >= MAX_PROXY_LINE_BYTES)
    return refused("too_large", `the line has more than ${MAX_PROXY_LINE_BYTES} bytes`);
  if (bytes[end - 1] !== 0x0d) return refused("malformed", "the line does not end with CR LF");
  const line = String.fromCharCode(...bytes.subarray(LINE_START.length, end - 1));
  const header = parseLine(line);
  return header === undefined
    ? refused("malformed", "the line is not TCP4 or TCP6 with two addresses and two ports, nor UNKNOWN")
    : { kind: "header", header, bytes: end + 1 };
}

function parseLine(line: string): ProxyHeader | undefined {
  // Section 2.1: whatever follows UNKNOWN is to be ignored.
  if (line === "UNKNOWN" || line.startsWith("UNKNOWN ")) return { version: 1, source: undefined, destination: undefined };
  const [family, from, to, fromPort, toPort, ...rest] = line.split(" ");
  if (rest.length > 0 || (family !== "TCP4" && family !== "TCP6")) return undefined;
  const size = family === "TCP4" ? 4 : 16;
  const source = placeOf(from, fromPort, size);
  const destination = placeOf(to, toPort, size);
  return source === undefined || destination === undefined ? undefined : { version: 1, source, destination };
}

function placeOf(address: string | undefined, port: string | undefined, size: 4 | 16): ProxyAddress | undefined {
  const bytes = address === undefined ? undefined : addressBytes(address);
  // Section 2.1: no leading zeroes.
  if (bytes?.length !== size || port === undefined || !/^(?:0|[1-9]\d{0,4})$/.test(port) || Number(port) > 65_535)
    return undefined;
  return { address: told(bytes), port: Number(port) };
}

function told(bytes: Uint8Array): string {
  return addressText(bytes.length === 16 && MAPPED.every((byte, i) => bytes[i] === byte) ? bytes.subarray(12) : bytes);
}

/** RFC 4291 2.5.5.2. */
const MAPPED: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

// ── version 2 ────────────────────────────────────────────────────────────────

const LOCAL = 0x20;
const PROXY = 0x21;
/** Bytes of addresses and ports by family and transport (section 2.2); datagrams have no business on a stream. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x21, 36],
  [0x31, 216],
]);

function readBinary(bytes: Uint8Array, { maxProxyHeaderBytes }: ProxyProtocolLimits): ProxyHeaderReading {
  for (let i = 0; i < Math.min(bytes.length, SIGNATURE.length); i++) {
    if (bytes[i] !== SIGNATURE[i]) return refused("missing", "the connection does not begin with a PROXY header");
  }
  if (bytes.length < FIXED_BYTES) return NEED;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const command = view.getUint8(12);
  if (command !== LOCAL && command !== PROXY)
    return refused("malformed", `version and command 0x${command.toString(16)} are neither LOCAL nor PROXY of version 2`);
  const size = FIXED_BYTES + view.getUint16(14);
  if (size > maxProxyHeaderBytes) return refused("too_large", `the header has ${size} bytes, allowed are ${maxProxyHeaderBytes}`);
  if (bytes.length < size) return NEED;
  const header = bytes.subarray(0, size);
  // Section 2.2: the receiver of LOCAL ignores what the addresses say, also of families that it does not know.
  if (command === LOCAL)
    return { kind: "header", header: { version: 2, source: undefined, destination: undefined }, bytes: size };
  const family = view.getUint8(13);
  const addresses = ADDRESS_BYTES.get(family);
  if (addresses === undefined) return refused("malformed", `family and transport 0x${family.toString(16)} are no stream's`);
  if (size < FIXED_BYTES + addresses) return refused("malformed", `${size - FIXED_BYTES} bytes are too few for the addresses`);
  const problem = checkVectors(header, FIXED_BYTES + addresses);
  if (problem !== undefined) return problem;
  return { kind: "header", header: { version: 2, ...binaryPlaces(header, family) }, bytes: size };
}

function binaryPlaces(header: Uint8Array, family: number): Pick<ProxyHeader, "source" | "destination"> {
  // A Unix socket's client has no address that anything could be held against.
  if (family !== 0x11 && family !== 0x21) return { source: undefined, destination: undefined };
  const size = family === 0x11 ? 4 : 16;
  const at = (index: number): ProxyAddress => {
    const start = FIXED_BYTES + index * size;
    const port = FIXED_BYTES + 2 * size + index * 2;
    return {
      address: told(header.subarray(start, start + size)),
      port: ((header[port] as number) << 8) | (header[port + 1] as number),
    };
  };
  return { source: at(0), destination: at(1) };
}

const CRC32C = 0x03;

/** Section 2.2.1: type-length-value vectors up to the end. None says anything here but the checksum, which has to be right (2.2.3). */
function checkVectors(header: Uint8Array, from: number): ProxyHeaderReading | undefined {
  let checksum = -1;
  for (let at = from; at < header.length; ) {
    if (at + 3 > header.length) return refused("malformed", "a vector is cut short");
    const length = ((header[at + 1] as number) << 8) | (header[at + 2] as number);
    if (at + 3 + length > header.length) return refused("malformed", "a vector is longer than the header");
    if (header[at] === CRC32C) {
      if (length !== 4 || checksum !== -1)
        return refused("malformed", "there is more than one checksum, or it is not of 4 bytes");
      checksum = at + 3;
    }
    at += 3 + length;
  }
  if (checksum === -1) return undefined;
  const blank = header.slice();
  blank.fill(0, checksum, checksum + 4);
  const sent = new DataView(header.buffer, header.byteOffset).getUint32(checksum);
  return crc32c(blank) === sent ? undefined : refused("bad_checksum", "the checksum is not that of the header");
}

/** Castagnoli's polynomial, reflected (RFC 3720 appendix B.4). */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}

// ── writing ──────────────────────────────────────────────────────────────────

/** A header for a connection that is passed on. Addresses of two families are both written as IPv6. Unreadable ones: the sender speaks for itself. */
export function writeProxyHeader(version: 1 | 2, source: ProxyAddress, destination: ProxyAddress): Uint8Array {
  let from = addressBytes(source.address);
  let to = addressBytes(destination.address);
  if (from === undefined || to === undefined) return version === 1 ? ascii("PROXY UNKNOWN\r\n") : binary(LOCAL, 0x00, []);
  if (from.length !== to.length) {
    from = mapped(from);
    to = mapped(to);
  }
  const isIpv4 = from.length === 4;
  if (version === 1) {
    const family = isIpv4 ? "TCP4" : "TCP6";
    return ascii(`PROXY ${family} ${addressText(from)} ${addressText(to)} ${source.port} ${destination.port}\r\n`);
  }
  const ports = [source.port, destination.port].flatMap((port) => [port >> 8, port & 0xff]);
  return binary(PROXY, isIpv4 ? 0x11 : 0x21, [...from, ...to, ...ports]);
}

function binary(command: number, family: number, body: readonly number[]): Uint8Array {
  return Uint8Array.from([...SIGNATURE, command, family, body.length >> 8, body.length & 0xff, ...body]);
}

function mapped(bytes: Uint8Array): Uint8Array {
  return bytes.length === 16 ? bytes : Uint8Array.from([...MAPPED, ...bytes]);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
