/** Signed envelopes and chunks: reading is total, what passes is what was written, and no header says more than it may. */
import { canonicalJson, chunkSnapshot } from "../../../controlplane/snapshot/index.ts";
import { type ChunkKind, DECODE_LIMITS, decodeChunks, decodeSnapshot, MANIFEST_TYP } from "../../../gateway/core/ir/index.ts";
import { readEnvelope } from "../../../gateway/core/ir/trust-jws.ts";
import { egressConfig, json, makeSnapshot, manifestOf } from "../../support/snapshots.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

const KINDS: readonly ChunkKind[] = ["settings", "listeners", "routes", "clusters", "endpoints", "quotas", "egress"];
const ENVELOPE_LIMITS = { maxBytes: 65_536, maxSignatures: 4 };
const snapshot = makeSnapshot(2, { egress: egressConfig() });
const chunks = chunkSnapshot(snapshot);
const payload = Buffer.from(json(manifestOf(chunks))).toString("base64url");

let inputs = 0;
let envelopes = 0;
let contents = 0;

function envelope(headers: readonly object[]): Uint8Array {
  const signatures = headers.map((header) => ({
    protected: Buffer.from(JSON.stringify(header)).toString("base64url"),
    signature: "c2ln",
  }));
  return Buffer.from(JSON.stringify({ payload, signatures }));
}

export const target: FuzzTarget = {
  name: "manifest",
  seeds: [envelope([{ alg: "EdDSA", kid: "a", typ: MANIFEST_TYP }]), ...chunks.map((chunk) => chunk.bytes)],
  tokens: [
    '"__proto__":',
    '"alg":"none"',
    '"crit":["b64"]',
    "null",
    "[]",
    "{}",
    '"kind":"exact"',
    "1e999",
    '"\\u0000"',
    "eyJhbGciOiJub25lIn0",
    '{"items":[',
    '],"shared":[',
    "[0,0,0,0,0,0,0,0]",
    ",-1,-2,",
    ",2,3,1,0,",
  ],
  generate(dice) {
    if (dice.chance(0.5)) return envelope(Array.from({ length: dice.int(6) }, () => randomHeader(dice)));
    const fewer = makeSnapshot(dice.int(4), dice.chance(0.5) ? { egress: egressConfig() } : {});
    const { bytes } = dice.pick(chunkSnapshot(fewer));
    return dice.chance(0.5) ? bytes : withReferences(bytes, dice);
  },
  check(input) {
    inputs++;
    checkEnvelope(input);
    for (const kind of KINDS) checkContent(kind, input);
  },
  summary: () => `${envelopes} envelopes and ${contents} chunks of ${inputs} read`,
};

/** The chunk with some of its values moved among the shared ones or repeated, and a few counts and references that may mean anything. */
function withReferences(bytes: Uint8Array, dice: Dice): Uint8Array {
  const { items, shared } = JSON.parse(Buffer.from(bytes).toString()) as {
    readonly items: unknown[];
    readonly shared: unknown[][];
  };
  const lists = [items, ...shared];
  for (let changes = 1 + dice.int(4); changes > 0; changes--) {
    const list = dice.pick(lists);
    if (list.length === 0) continue;
    const at = dice.int(list.length);
    const length = 1 + dice.int(Math.min(8, list.length - at));
    if (dice.chance(0.6)) list.splice(at, length, -shared.push(list.slice(at, at + length)));
    else if (dice.chance(0.5)) list[at] = dice.int(2 * shared.length + 4) - shared.length - 2;
    else list.splice(at, 0, ...list.slice(at, at + length));
  }
  return Buffer.from(JSON.stringify({ items, shared }));
}

function randomHeader(dice: Dice): object {
  return {
    alg: dice.mostly("EdDSA", ["ES256", "none", "HS256", "eddsa", "", 5], 0.3),
    kid: dice.mostly(dice.text("abc", 1, 3), ["", "__proto__", null], 0.1),
    typ: dice.mostly<unknown>(MANIFEST_TYP, ["JWT", undefined], 0.1),
    ...(dice.chance(0.1) ? { crit: dice.pick([[], ["exp"], null]) } : {}),
    ...(dice.chance(0.1) ? { [dice.pick(["jwk", "jku", "x5c", "b64"])]: true } : {}),
  };
}

function checkEnvelope(input: Uint8Array): void {
  const read = readEnvelope(input, MANIFEST_TYP, ENVELOPE_LIMITS);
  if (!read.ok) return;
  envelopes++;
  const { signatures } = read.value;
  if (signatures.length === 0 || signatures.length > ENVELOPE_LIMITS.maxSignatures)
    throw new FuzzFailure("bounded", String(signatures.length));
  if (new Set(signatures.map((entry) => entry.kid)).size !== signatures.length)
    throw new FuzzFailure("distinct keys", "a key twice");
  for (const { alg, protected: head } of signatures) {
    const header = JSON.parse(Buffer.from(head, "base64url").toString()) as object;
    if (!["EdDSA", "ES256"].includes(alg) || "crit" in header) throw new FuzzFailure("strict header", JSON.stringify(header));
  }
}

function checkContent(kind: ChunkKind, input: Uint8Array): void {
  const ref = { kind, name: "fuzzed", hash: "fuzzed", bytes: input.byteLength };
  const decoded = decodeChunks([{ ref, bytes: input }]);
  if (!decoded.ok) return;
  contents++;
  for (const { size } of decoded.value.values()) {
    if (size > DECODE_LIMITS.chunkSize) throw new FuzzFailure("bounded", String(size));
  }
  const settings = chunks.find((chunk) => chunk.ref.kind === "settings");
  if (settings === undefined || kind === "settings") return;
  const whole = decodeSnapshot([settings, { ref, bytes: input }]);
  if (!whole.ok) return;
  const again = decodeSnapshot(chunkSnapshot(whole.value));
  if (!again.ok) throw new FuzzFailure("reads what was written", JSON.stringify(again.error));
  const same = canonicalJson(chunkSnapshot(again.value)) === canonicalJson(chunkSnapshot(whole.value));
  if (!same) throw new FuzzFailure("same chunks again", kind);
}
