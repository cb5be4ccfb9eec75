/** The PROXY protocol reader: total, waiting for more only while more can help, and reading back what was written. */
import { type ProxyAddress, type ProxyHeaderReading, readProxyHeader, writeProxyHeader } from "../../../gateway/wire/index.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

let inputs = 0;
let accepted = 0;

const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1");
const V4 = [
  { address: "192.0.2.1", port: 40_000 },
  { address: "198.51.100.2", port: 443 },
] as const;

export const target: FuzzTarget = {
  name: "proxy-protocol",
  seeds: [
    ascii("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\nGET /"),
    ascii("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"),
    ascii("PROXY UNKNOWN\r\n"),
    writeProxyHeader(2, ...V4),
    writeProxyHeader(2, { address: "2001:db8::1", port: 1 }, { address: "::1", port: 2 }),
    writeProxyHeader(2, { address: "", port: 0 }, V4[1]),
  ],
  tokens: [
    "PROXY ",
    "TCP4",
    "TCP6",
    "UNKNOWN",
    "\r\n",
    " ",
    "::",
    "255",
    "65535",
    "\x00\x0c",
    "\x21\x11",
    "\x03\x00\x04",
    "\x04\x00\x00",
  ],
  generate: (dice) =>
    Buffer.concat([writeProxyHeader(dice.chance(0.5) ? 1 : 2, place(dice), place(dice)), ascii(dice.text("abc", 0, 8))]),
  check(input, dice) {
    inputs++;
    const whole = readProxyHeader(input);
    if (whole.kind === "header") accepted++;
    checkPrefixes(input, whole, dice);
    const [version, source, destination] = [dice.chance(0.5) ? 1 : 2, place(dice), place(dice)] as const;
    const written = writeProxyHeader(version, source, destination);
    const read = readProxyHeader(written);
    if (read.kind !== "header" || read.bytes !== written.length || read.header.source?.port !== source.port)
      throw new FuzzFailure("reads what was written", `${JSON.stringify([source, destination])} became ${JSON.stringify(read)}`);
  },
  summary: () => `${accepted} of ${inputs} accepted`,
};

/** A beginning of the input says the same, or asks for more: what is refused stays refused, however it was split. */
function checkPrefixes(input: Uint8Array, whole: ProxyHeaderReading, dice: Dice): void {
  const cut = dice.int(input.length + 1);
  const part = readProxyHeader(input.subarray(0, cut));
  if (part.kind === "need" && (whole.kind !== "header" || cut < whole.bytes)) return;
  if (JSON.stringify(part) !== JSON.stringify(whole))
    throw new FuzzFailure("split invariance", `${JSON.stringify(part)} after ${cut} bytes became ${JSON.stringify(whole)}`);
}

function place(dice: Dice): ProxyAddress {
  const octets = Array.from({ length: 4 }, () => dice.int(256)).join(".");
  const groups = Array.from({ length: 8 }, () => dice.int(65_536).toString(16)).join(":");
  return { address: dice.chance(0.5) ? octets : groups, port: dice.int(65_536) };
}
