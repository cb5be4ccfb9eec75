/** The ClientHello reader: total, indifferent to splits, and reading back what a well-formed hello was made of. */
import { type ClientHello, type ClientHelloEvent, ClientHelloReader } from "../../../gateway/wire/index.ts";
import { clientHello, HELLOS, type HelloParts, records } from "../../wire/client-hellos.ts";
import type { Dice } from "../dice.ts";
import { cut } from "../mutate.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

let inputs = 0;
let accepted = 0;

function read(chunks: Iterable<Uint8Array>): ClientHelloEvent {
  const reader = new ClientHelloReader();
  let event: ClientHelloEvent = { kind: "need" };
  for (const chunk of chunks) event = reader.feed(chunk);
  return event;
}

export const target: FuzzTarget = {
  name: "client-hello",
  seeds: HELLOS.map(([, bytes]) => bytes),
  tokens: ["\x16\x03\x01", "\x00\x00", "\x00\x10", "\xfe\x0d", "\x00\x2b", "\x01\x00", "\xff\xff", "a.b", "\x00", "h2"],
  generate: (dice) => records(clientHello(randomParts(dice)), dice.chance(0.5) ? 1 << 14 : 40 + dice.int(300)),
  check(input, dice) {
    inputs++;
    const whole = read([input]);
    if (whole.kind === "hello") accepted++;
    const split = read(cut(input, dice));
    if (JSON.stringify(split) !== JSON.stringify(whole)) {
      throw new FuzzFailure("split invariance", `${JSON.stringify(whole)} became ${JSON.stringify(split)}`);
    }
    const parts = randomParts(dice);
    const read1 = read(cut(records(clientHello(parts), 40 + dice.int(2000)), dice));
    const expected: ClientHello = {
      serverName: parts.serverName,
      alpn: parts.alpn ?? [],
      ech: parts.ech === true,
      versions: parts.versions ?? [0x0303],
    };
    if (read1.kind !== "hello" || JSON.stringify(read1.hello) !== JSON.stringify(expected)) {
      throw new FuzzFailure("reads what was written", `${JSON.stringify(expected)} became ${JSON.stringify(read1)}`);
    }
  },
  summary: () => `${accepted} of ${inputs} accepted`,
};

function randomParts(dice: Dice): HelloParts {
  const label = (): string => dice.text("abcXYZ019_", 1, 12);
  return {
    ...(dice.chance(0.8) ? { serverName: `${label()}.${label()}.test` } : {}),
    ...(dice.chance(0.6)
      ? { alpn: Array.from({ length: 1 + dice.int(3) }, () => dice.pick(["h2", "http/1.1", dice.text("abc\x00\xff", 1, 20)])) }
      : {}),
    ...(dice.chance(0.3) ? { ech: true } : {}),
    ...(dice.chance(0.7) ? { versions: [0x0304, 0x0303].slice(dice.int(2)) } : {}),
    padding: dice.int(600),
  };
}
