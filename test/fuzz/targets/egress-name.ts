/** Host names of the egress gateway: total, and what is accepted is what WHATWG URL reads in it, byte for byte. */
import { parseHost } from "../../../gateway/core/index.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

const SEEDS = [
  "api.example.com",
  "xn--mnchen-3ya.de",
  "xn--4dbrk0ce.1a.com",
  "my_bucket.s3.example.com",
  "127.0.0.1",
  "[2001:db8::4]",
  "[::ffff:7f00:1]",
];

const TOKENS = [
  "xn--",
  "0x",
  "127",
  "0177",
  "4294967295",
  "::",
  "[",
  "]",
  "%25",
  "%2e",
  "@",
  "\\",
  ".",
  "..",
  "-",
  "_",
  "a",
  "\x00",
  "\xe3\x80\x82",
];

let inputs = 0;
let accepted = 0;

export const target: FuzzTarget = {
  name: "egress-name",
  seeds: SEEDS.map((text) => Buffer.from(text)),
  tokens: TOKENS,
  generate: (dice) => Buffer.from(randomHost(dice)),
  check(input) {
    inputs++;
    const text = new TextDecoder().decode(input);
    const parsed = parseHost(text);
    if (!parsed.ok) {
      // A reason ends up in a header field.
      if (!/^[\x20-\x7e]+$/.test(parsed.error.text)) throw new FuzzFailure("printable reason", JSON.stringify(parsed.error.text));
      return;
    }
    accepted++;
    if (parsed.value.text !== text) throw new FuzzFailure("nothing is repaired", `${text} became ${parsed.value.text}`);
    const read = URL.parse(`http://${text}/`)?.hostname;
    if (read !== text) throw new FuzzFailure("as URL reads it", `${text} is ${read ?? "refused"}`);
  },
  summary: () => `${accepted} of ${inputs} accepted`,
};

function randomHost(dice: Dice): string {
  if (dice.chance(0.2)) return `[${dice.text("0123456789abcdef:::.", 1, 24)}]`;
  const labels = Array.from({ length: 1 + dice.int(4) }, () => {
    const front = dice.chance(0.3) ? "xn--" : dice.chance(0.1) ? "0x" : "";
    return front + dice.text("abcxyz0123456789-_", 1, 10);
  });
  return labels.join(".");
}
