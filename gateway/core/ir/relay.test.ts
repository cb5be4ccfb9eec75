import { describe, expect, test } from "vitest";
import {
  type ControlMessage,
  controlFrame,
  isChunkHash,
  MAX_CHUNK_FRAME_BYTES,
  MAX_CONTROL_TEXT,
  MAX_RELAY_HASHES,
  MAX_RELAY_PROBLEMS,
  MAX_RELAY_REASON,
  MAX_RELAY_TEXT,
  RELAY_PING,
  RELAY_PONG,
  type RelayMessage,
  readControlMessage,
  readRelayMessage,
  readRelayOffer,
  relayFrame,
  relayProblems,
} from "./relay.ts";

const HASH = `${"a".repeat(42)}A`;
const snapshot = { epoch: 1, version: 7 };
const hello = {
  type: "hello",
  protocol: 1,
  site: "europe",
  audience: "edge-eu",
  pin: HASH,
  rootVersion: 2,
  held: snapshot,
  heldSinceMs: 5,
  enforced: true,
  readerVersion: 1,
  software: "x",
} as const;

const RELAY_MESSAGES: readonly RelayMessage[] = [
  hello,
  { type: "need", snapshot, hashes: [HASH] },
  { type: "ack", snapshot },
  { type: "nack", snapshot, code: "rollback", problems: [{ name: "snapshot", reason: "older" }], partly: false },
  { type: "nack", code: "malformed", problems: [], partly: false },
  { type: "deferred", snapshot, notBeforeS: 9 },
  { type: "enforced", snapshot, watchers: 3, returned: 2 },
  { type: "pong" },
];

describe("what a relay says", () => {
  test.each(RELAY_MESSAGES)("$type is read as it was written", (message) => {
    expect(readRelayMessage(relayFrame(message))).toEqual({ ok: true, value: message });
  });

  test("the pong is the text with which the runtime answers", () => {
    expect(readRelayMessage(RELAY_PONG)).toEqual({ ok: true, value: { type: "pong" } });
    expect(readRelayMessage(RELAY_PING).ok).toBe(false);
  });

  test.each<[string, string | Uint8Array, string]>([
    ["a binary frame", new Uint8Array(50), "text frames only"],
    ["no JSON", "{", "is not JSON"],
    ["a list", "[]", "must be an object"],
    ["null", "null", "must be an object"],
    ["no type", "{}", "must be one of"],
    ["a type of Object.prototype", '{"type":"constructor"}', "must be one of"],
    ["a control plane's message", '{"type":"manifest","jws":"x"}', "must be one of"],
    ["an unknown field", JSON.stringify({ ...hello, more: 1 }), "unknown field"],
    ["a field missing", JSON.stringify({ ...hello, site: undefined }), "required field is missing"],
    ["a version that is no number", JSON.stringify({ type: "ack", snapshot: { epoch: 1, version: "7" } }), "must be an integer"],
    ["a version below 0", JSON.stringify({ type: "ack", snapshot: { epoch: 1, version: -1 } }), "must be from 0"],
    ["a hash too short", JSON.stringify({ type: "need", snapshot, hashes: ["abc"] }), "must be at least 43"],
    ["no hashes", JSON.stringify({ type: "need", snapshot, hashes: [] }), "needs at least 1"],
  ])("%s is refused", (_name, frame, problem) => {
    const read = readRelayMessage(frame);
    expect(read.ok ? "" : JSON.stringify(read.error)).toContain(problem);
  });
});

describe("what a control plane says", () => {
  test.each<ControlMessage>([
    { type: "root", document: "{}" },
    { type: "manifest", jws: "{}" },
    { type: "chunk", hash: HASH, content: new Uint8Array([1, 2, 3]) },
  ])("$type is read as it was written", (message) => {
    expect(readControlMessage(controlFrame(message))).toEqual({ ok: true, value: message });
  });

  test.each<[string, string | Uint8Array, string]>([
    ["a relay's message", '{"type":"pong"}', "must be one of"],
    ["a chunk as text", '{"type":"chunk"}', "must be one of"],
    ["a manifest that is no text", '{"type":"manifest","jws":{}}', "must be a string"],
    ["an empty frame", new Uint8Array(), "a chunk is 43 of hash and its content"],
    ["a hash alone", new TextEncoder().encode(HASH), "a chunk is 43 of hash and its content"],
    ["no hash in front", new TextEncoder().encode(`${"=".repeat(43)}[]`), "does not begin with a SHA-256 hash"],
    ["bytes above ASCII in front", new Uint8Array(50).fill(0xe1), "does not begin with a SHA-256 hash"],
  ])("%s is refused", (_name, frame, problem) => {
    const read = readControlMessage(frame);
    expect(read.ok ? "" : JSON.stringify(read.error)).toContain(problem);
  });

  test("an offer over HTTPS", () => {
    const offer = { roots: ["r"], jws: "m" };
    expect(readRelayOffer(JSON.stringify(offer))).toEqual({ ok: true, value: offer });
    for (const body of ["", "{}", '{"roots":"r","jws":"m"}', '{"roots":[],"jws":"m","more":1}']) {
      expect(readRelayOffer(body).ok).toBe(false);
    }
  });

  test("a hash has one spelling", () => {
    expect(isChunkHash(HASH)).toBe(true);
    for (const other of ["", `${HASH}A`, `${"a".repeat(42)}B`, `${"a".repeat(42)}=`, `../${"a".repeat(39)}A`]) {
      expect(isChunkHash(other)).toBe(false);
    }
  });
});

describe("limits", () => {
  const refusal = (read: { readonly ok: boolean }) => JSON.stringify("error" in read ? read.error : read);

  test("MAX_RELAY_TEXT and MAX_CONTROL_TEXT are compared before anything is parsed", () => {
    expect(refusal(readRelayMessage("[".repeat(MAX_RELAY_TEXT + 1)))).toContain(`at most ${MAX_RELAY_TEXT}`);
    expect(refusal(readControlMessage("[".repeat(MAX_CONTROL_TEXT + 1)))).toContain(`at most ${MAX_CONTROL_TEXT}`);
    expect(refusal(readRelayOffer("[".repeat(MAX_CONTROL_TEXT + 1)))).toContain(`at most ${MAX_CONTROL_TEXT}`);
    expect(refusal(readRelayMessage("[".repeat(MAX_RELAY_TEXT)))).toContain("is not JSON");
  });

  test("MAX_CHUNK_FRAME_BYTES", () => {
    const frame = new Uint8Array(MAX_CHUNK_FRAME_BYTES + 1);
    new TextEncoder().encodeInto(HASH, frame);
    expect(refusal(readControlMessage(frame))).toContain(`at most ${MAX_CHUNK_FRAME_BYTES}`);
    expect(readControlMessage(frame.subarray(0, MAX_CHUNK_FRAME_BYTES)).ok).toBe(true);
  });

  test("MAX_RELAY_HASHES", () => {
    const need = (count: number) => JSON.stringify({ type: "need", snapshot, hashes: Array.from({ length: count }, () => HASH) });
    expect(readRelayMessage(need(MAX_RELAY_HASHES)).ok).toBe(true);
    expect(refusal(readRelayMessage(need(MAX_RELAY_HASHES + 1)))).toContain(`at most ${MAX_RELAY_HASHES}`);
  });

  test("MAX_RELAY_PROBLEMS and MAX_RELAY_REASON: a refusal is cut to what is read", () => {
    const problems = Array.from({ length: 500 }, (_, i) => ({ name: `n${i}`, reason: "x".repeat(10_000) }));
    const cut = relayProblems(problems);
    expect(cut).toHaveLength(MAX_RELAY_PROBLEMS);
    expect(cut[0]?.reason).toHaveLength(MAX_RELAY_REASON);
    const nack: RelayMessage = { type: "nack", code: "x", problems: cut, partly: false };
    expect(readRelayMessage(relayFrame(nack)).ok).toBe(true);
    expect(readRelayMessage(relayFrame({ ...nack, problems: problems.map(({ name }) => ({ name, reason: "" })) })).ok).toBe(
      false,
    );
  });
});
