/** Frames between control plane and relay: reading is total and bounded, and what passes is written and read again as the same. */
import {
  controlFrame,
  MAX_RELAY_HASHES,
  MAX_RELAY_PROBLEMS,
  type RelayMessage,
  readControlMessage,
  readRelayMessage,
  relayFrame,
} from "../../../gateway/core/ir/index.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

const HASH = `${"a".repeat(42)}A`;
const snapshot = { epoch: 1, version: 2 };
const MESSAGES: readonly unknown[] = [
  {
    type: "hello",
    protocol: 1,
    site: "eu",
    audience: "eu",
    pin: HASH,
    rootVersion: 1,
    enforced: false,
    readerVersion: 1,
    software: "",
  },
  { type: "need", snapshot, hashes: [HASH] },
  { type: "ack", snapshot },
  { type: "nack", code: "rollback", problems: [{ name: "a", reason: "b" }], partly: false },
  { type: "deferred", snapshot, notBeforeS: 3 },
  { type: "enforced", snapshot, watchers: 1, returned: 1 },
  { type: "pong" },
  { type: "root", document: "{}" },
  { type: "manifest", jws: "{}" },
];
const seeds = [...MESSAGES.map((message) => Buffer.from(JSON.stringify(message))), Buffer.from(`${HASH}[{"a":1}]`)];

let inputs = 0;
let relays = 0;
let controls = 0;

export const target: FuzzTarget = {
  name: "relay-message",
  seeds,
  tokens: ['"__proto__":', '"type":"hello"', '"type":"constructor"', "null", "[]", "{}", "1e999", "-1", '"held":', HASH],
  generate(dice) {
    const message = dice.pick(MESSAGES) as Record<string, unknown>;
    if (dice.chance(0.2))
      return Buffer.concat([Buffer.from(dice.mostly(HASH, [HASH.slice(1), ""], 0.3)), Buffer.from(dice.text("ab", 0, 40))]);
    return Buffer.from(JSON.stringify(changed(message, dice)));
  },
  check(input) {
    inputs++;
    const text = Buffer.from(input).toString("utf8");
    for (const frame of [text, input]) {
      checkRelay(frame);
      checkControl(frame);
    }
  },
  summary: () => `${relays} messages of relays and ${controls} of control planes in ${inputs} inputs`,
};

function changed(message: Record<string, unknown>, dice: Dice): Record<string, unknown> {
  const names = Object.keys(message);
  const odd: readonly unknown[] = [null, -1, 0, "", "x", [], {}, 1e300, [HASH, HASH], snapshot];
  return { ...message, ...(dice.chance(0.6) ? { [dice.mostly(dice.pick(names), ["held", "more"], 0.3)]: dice.pick(odd) } : {}) };
}

function checkRelay(frame: string | Uint8Array): void {
  const read = readRelayMessage(frame);
  if (!read.ok) return;
  relays++;
  bounded(read.value);
  const again = readRelayMessage(relayFrame(read.value));
  if (!again.ok || relayFrame(again.value) !== relayFrame(read.value))
    throw new FuzzFailure("reads what was written", String(frame));
}

function bounded(message: RelayMessage): void {
  if (message.type === "need" && message.hashes.length > MAX_RELAY_HASHES) throw new FuzzFailure("bounded", "hashes");
  if (message.type === "nack" && message.problems.length > MAX_RELAY_PROBLEMS) throw new FuzzFailure("bounded", "problems");
}

function checkControl(frame: string | Uint8Array): void {
  const read = readControlMessage(frame);
  if (!read.ok) return;
  controls++;
  if ((read.value.type === "chunk") !== (typeof frame !== "string")) throw new FuzzFailure("chunks are binary", read.value.type);
  const written = controlFrame(read.value);
  if (typeof written !== "string" && Buffer.compare(written, frame as Uint8Array) !== 0)
    throw new FuzzFailure("same chunk", read.value.type);
  if (!readControlMessage(written).ok) throw new FuzzFailure("reads what was written", read.value.type);
}
