/** HPACK: garbage is decoded without a throw and within bounds, alike at any time; what our encoder writes reads back, whatever the sizes of the tables. */
import { decodeLatin1 } from "../../../gateway/wire/http1/chars.ts";
import { HpackDecoder, HpackDecoderSettings } from "../../../gateway/wire/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../../gateway/wire/http2/hpack/encoder.ts";
import { BufferPool, Output } from "../../../gateway/wire/http2/output.ts";
import { block, GET, integer } from "../../support/http2-frames.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

const TABLE_BYTES = 512;
const SHARED = new HpackDecoderSettings({ maxHeaderBlockBytes: 16 * 1024, maxTableSizeUpdates: 2 }, decodeLatin1);
const NAMES = ["accept", "content-type", "cookie", "x-request-id", "vary", "x-a", "x-b", "authorization", "date", "via", "etag"];

let decoded = 0;
let inputs = 0;

class Fields {
  readonly list: string[] = [];
  longest = 0;

  field(_kind: number, name: string, value: string): void {
    this.list.push(name, value);
    this.longest = Math.max(this.longest, name.length, value.length);
  }

  neverIndexed(): void {}
}

function decode(decoder: HpackDecoder, bytes: Uint8Array): Fields | undefined {
  const fields = new Fields();
  return decoder.decode(bytes, 0, bytes.length, fields) ? fields : undefined;
}

/** A block that may be read twice must read alike where the tables do not matter, and never make more of itself than a code can. */
function garbage(input: Uint8Array): void {
  const decoder = new HpackDecoder(SHARED, TABLE_BYTES);
  const first = decode(decoder, input);
  const again = decode(new HpackDecoder(SHARED, TABLE_BYTES), input);
  if (JSON.stringify(first?.list) !== JSON.stringify(again?.list)) throw new FuzzFailure("decodes alike", "twice the same block");
  if (first === undefined) return;
  decoded++;
  if (first.list.length > 2 * input.length)
    throw new FuzzFailure("a field takes a byte", `${first.list.length / 2} of ${input.length}`);
  if (first.longest > Math.max(TABLE_BYTES, (input.length * 8) / 5))
    throw new FuzzFailure("texts are bounded", `${first.longest} bytes`);
}

function roundTrip(dice: Dice): void {
  const encoder = new HpackEncoder(dice.pick([0, 100, 4096]));
  const decoder = new HpackDecoder(SHARED, 4096);
  const out = new Output(new BufferPool());
  for (let left = 1 + dice.int(6); left > 0; left--) {
    if (dice.chance(0.3)) encoder.allow(dice.pick([0, 60, 500, 4096]));
    const fields = Array.from({ length: dice.int(8) }, () => [
      dice.pick(NAMES),
      dice.pick(["same", "", dice.text("abcXYZ019;=\xe9", 0, 30), dice.text("ab", 500, 1500)]),
    ]).flat();
    encoder.begin(out);
    for (let i = 0; i < fields.length; i += 2) encoder.field(out, fields[i] ?? "", fields[i + 1] ?? "", dice.chance(0.05));
    const read = decode(decoder, out.take());
    if (JSON.stringify(read?.list) !== JSON.stringify(fields)) {
      throw new FuzzFailure("reads what was written", `${JSON.stringify(fields)} became ${JSON.stringify(read?.list)}`);
    }
  }
}

const HEX = [
  "828684418cf1e3c2e5f23a6ba0ab90f4ff",
  "828684be5886a8eb10649cbf",
  "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
  "203fe11f82",
  "ff80808080",
  "0084ffffffff0161",
];

export const target: FuzzTarget = {
  name: "hpack",
  seeds: [...HEX.map((text) => Buffer.from(text, "hex")), block(GET), block(GET, 0x40)],
  tokens: [
    "\x80",
    "\xbe",
    "\xff",
    "\x7f",
    "\x20",
    "\x3f\xe1\x03",
    "\x40",
    "\x10",
    "\x82",
    "\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
  ],
  generate(dice) {
    const pieces = Array.from({ length: 1 + dice.int(8) }, () => {
      const form = dice.pick([0x00, 0x10, 0x40]);
      if (dice.chance(0.4)) return Buffer.from([0x80 | (1 + dice.int(70))]);
      if (dice.chance(0.2)) return integer(5, 0x20, dice.int(600));
      return block([[dice.pick(NAMES), dice.text("abc\xff ", 0, 40)]], form);
    });
    return Buffer.concat(pieces);
  },
  check(input, dice) {
    inputs++;
    garbage(input.subarray(0, SHARED.limits.maxHeaderBlockBytes));
    roundTrip(dice);
  },
  summary: () => `${decoded} of ${inputs} blocks decoded`,
};
