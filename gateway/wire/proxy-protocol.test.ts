import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  crc32c,
  DEFAULT_PROXY_PROTOCOL_LIMITS,
  MAX_PROXY_LINE_BYTES,
  type ProxyHeaderReading,
  readProxyHeader,
  writeProxyHeader,
} from "./proxy-protocol.ts";

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const V4 = [192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0x01, 0xbb];
const binary = (command: number, family: number, body: readonly number[]): Uint8Array =>
  Uint8Array.from([...SIGNATURE, command, family, body.length >> 8, body.length & 0xff, ...body]);
const ENDS = { source: { address: "192.0.2.1", port: 40_000 }, destination: { address: "198.51.100.2", port: 443 } };

function code(reading: ProxyHeaderReading): string {
  return reading.kind === "error" ? reading.code : reading.kind;
}

describe("version 1", () => {
  it.each([
    ["PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n", ENDS],
    [
      "PROXY TCP6 2001:DB8::1 2001:db8:0:0::2 0 65535\r\n",
      { source: { address: "2001:db8::1", port: 0 }, destination: { address: "2001:db8::2", port: 65_535 } },
    ],
    [
      "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
      { source: { address: "192.0.2.1", port: 1 }, destination: { address: "::1", port: 2 } },
    ],
    ["PROXY UNKNOWN\r\n", { source: undefined, destination: undefined }],
    ["PROXY UNKNOWN ffff::1 whatever\r\n", { source: undefined, destination: undefined }],
  ])("%j is read", (line, ends) => {
    const reading = readProxyHeader(bytesOf(`${line}GET /`));
    expect(reading).toEqual({ kind: "header", header: { version: 1, ...ends }, bytes: line.length });
  });

  it.each([
    "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\n",
    "PROXY TCP4  192.0.2.1 198.51.100.2 40000 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443 \r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 040 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
    "PROXY TCP4 192.0.2.256 198.51.100.2 1 443\r\n",
    "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
    "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
    "PROXY TCP6 192.0.2.1 198.51.100.2 1 443\r\n",
    "PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
    "PROXY TCP5 192.0.2.1 198.51.100.2 1 443\r\n",
    "PROXY tcp4 192.0.2.1 198.51.100.2 1 443\r\n",
    "PROXY UNKNOWNX\r\n",
    "PROXY \r\n",
  ])("%j is malformed", (line) => {
    expect(code(readProxyHeader(bytesOf(line)))).toBe("malformed");
  });

  it("has at most MAX_PROXY_LINE_BYTES", () => {
    const line = (length: number): Uint8Array => bytesOf(`PROXY UNKNOWN ${"x".repeat(length - 16)}\r\n`);
    expect(code(readProxyHeader(line(MAX_PROXY_LINE_BYTES)))).toBe("header");
    expect(code(readProxyHeader(line(MAX_PROXY_LINE_BYTES + 1)))).toBe("too_large");
    expect(code(readProxyHeader(line(MAX_PROXY_LINE_BYTES).subarray(0, MAX_PROXY_LINE_BYTES - 1)))).toBe("need");
    expect(code(readProxyHeader(bytesOf(`PROXY UNKNOWN ${"x".repeat(200)}`)))).toBe("too_large");
  });
});

describe("version 2", () => {
  const crc = (body: readonly number[]): Uint8Array => {
    const blank = binary(0x21, 0x11, [...V4, ...body, 3, 0, 4, 0, 0, 0, 0]);
    const made = Uint8Array.from(blank);
    new DataView(made.buffer).setUint32(made.length - 4, crc32c(blank));
    return made;
  };

  it.each([
    ["IPv4", binary(0x21, 0x11, V4), ENDS],
    ["vectors that nobody here reads", binary(0x21, 0x11, [...V4, 0x02, 0, 3, 97, 46, 98, 0x04, 0, 0]), ENDS],
    ["a checksum", crc([0x05, 0, 1, 7]), ENDS],
    [
      "IPv6",
      binary(0x21, 0x21, [...new Array(15).fill(0), 1, 0x20, 0x01, 0x0d, 0xb8, ...new Array(11).fill(0), 2, 0, 1, 0, 2]),
      { source: { address: "::1", port: 1 }, destination: { address: "2001:db8::2", port: 2 } },
    ],
    ["a Unix socket", binary(0x21, 0x31, new Array(216).fill(0)), { source: undefined, destination: undefined }],
    ["UNSPEC", binary(0x21, 0x00, [1, 0, 0]), { source: undefined, destination: undefined }],
    ["LOCAL, whatever follows", binary(0x20, 0x77, [1, 2, 3]), { source: undefined, destination: undefined }],
  ])("%s is read", (_what, bytes, ends) => {
    const reading = readProxyHeader(Uint8Array.from([...bytes, 1, 2, 3]));
    expect(reading).toEqual({ kind: "header", header: { version: 2, ...ends }, bytes: bytes.length });
  });

  it.each([
    ["another version", binary(0x11, 0x11, V4), "malformed"],
    ["another command", binary(0x22, 0x11, V4), "malformed"],
    ["datagrams", binary(0x21, 0x12, V4), "malformed"],
    ["another family", binary(0x21, 0x41, V4), "malformed"],
    ["too few bytes for the addresses", binary(0x21, 0x11, V4.slice(1)), "malformed"],
    ["a vector that is cut", binary(0x21, 0x11, [...V4, 1, 0]), "malformed"],
    ["a vector beyond the end", binary(0x21, 0x11, [...V4, 1, 0, 2, 0]), "malformed"],
    ["a wrong checksum", binary(0x21, 0x11, [...V4, 3, 0, 4, 1, 2, 3, 4]), "bad_checksum"],
    ["a checksum of another size", binary(0x21, 0x11, [...V4, 3, 0, 2, 1, 2]), "malformed"],
    ["two checksums", binary(0x21, 0x11, [...V4, 3, 0, 4, 1, 2, 3, 4, 3, 0, 4, 1, 2, 3, 4]), "malformed"],
    ["another signature", Uint8Array.from([0x0d, 0x0a, 0x0d, 0x0b]), "missing"],
  ])("%s is refused", (_what, bytes, expected) => {
    expect(code(readProxyHeader(bytes))).toBe(expected);
  });

  it("has at most maxProxyHeaderBytes", () => {
    const { maxProxyHeaderBytes } = DEFAULT_PROXY_PROTOCOL_LIMITS;
    const padded = (size: number): Uint8Array => {
      const fill = size - 16 - 12 - 3;
      return binary(0x21, 0x11, [...V4, 4, fill >> 8, fill & 0xff, ...new Array<number>(fill).fill(0)]);
    };
    expect(code(readProxyHeader(padded(maxProxyHeaderBytes)))).toBe("header");
    expect(code(readProxyHeader(padded(maxProxyHeaderBytes + 1).subarray(0, 16)))).toBe("too_large");
  });

  it("knows the checksum of the standard's example", () => {
    // RFC 3720 B.4: 32 bytes of zeroes, and "123456789" as everybody's check value.
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(bytesOf("123456789"))).toBe(0xe3069283);
  });
});

it.each(["GET / HTTP/1.1\r\n\r\n", "PROX", "\x16\x03\x01", "proxy TCP4"])("%j is no header, or not yet", (text) => {
  expect(code(readProxyHeader(bytesOf(text)))).toBe(text === "PROX" ? "need" : "missing");
});

const address = fc.oneof(fc.ipV4(), fc.ipV6());
const place = fc.record({ address, port: fc.integer({ min: 0, max: 65_535 }) });

it("reads back what it writes, and every beginning of it needs more", () => {
  fc.assert(
    fc.property(fc.constantFrom(1 as const, 2 as const), place, place, (version, source, destination) => {
      const written = writeProxyHeader(version, source, destination);
      for (let size = 0; size < written.length; size++) expect(code(readProxyHeader(written.subarray(0, size)))).toBe("need");
      const reading = readProxyHeader(written);
      expect(code(reading)).toBe("header");
      if (reading.kind !== "header") return;
      expect(reading.bytes).toBe(written.length);
      expect(reading.header.source?.port).toBe(source.port);
      expect(reading.header.destination?.port).toBe(destination.port);
      expect(
        writeProxyHeader(version, reading.header.source ?? source, reading.header.destination ?? destination).length,
      ).toBeGreaterThan(0);
      if (source.address.includes(".") && !source.address.includes(":"))
        expect(reading.header.source?.address).toBe(source.address);
    }),
  );
});

it("writes what is not an address as unknown", () => {
  const nobody = { address: "", port: 1 };
  expect(readProxyHeader(writeProxyHeader(1, nobody, nobody))).toMatchObject({ header: { source: undefined } });
  expect(readProxyHeader(writeProxyHeader(2, nobody, nobody))).toMatchObject({ header: { source: undefined } });
});
