import * as fc from "fast-check";
import { CompactSign, type CryptoKey } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { type Chunk, chunkSnapshot, signDocument } from "../../../controlplane/snapshot/index.ts";
import {
  bytesByHash,
  contextOf,
  json,
  type Keys,
  makeKey,
  makeRoot,
  makeSnapshot,
  manifestOf,
  NOW_S,
  rootDocument,
  signManifest,
  type TestKey,
  utf8,
} from "../../../test/support/snapshots.ts";
import { type AcceptContext, acceptSnapshot } from "./accept.ts";
import { type ChunkRef, MANIFEST_TYP, type Manifest, type SectionInfo } from "./manifest.ts";
import type { TrustRoot } from "./trust.ts";
import { ROOT_TYP } from "./trust.ts";
import type { RefusalCode } from "./trust-refusal.ts";
import { type AcceptedState, DEFAULT_SNAPSHOT_LIMITS, peekManifest, verifyManifest } from "./verify.ts";

let keys: Keys & { readonly online: readonly [TestKey, TestKey, TestKey] };
let root: TrustRoot;
let stranger: TestKey;
let chunks: readonly Chunk[];
let good: Manifest;

beforeAll(async () => {
  keys = { root: [await makeKey()], online: [await makeKey("EdDSA"), await makeKey("ES256"), await makeKey("EdDSA")] };
  root = await makeRoot(keys);
  stranger = await makeKey();
  chunks = chunkSnapshot(makeSnapshot(20));
  good = manifestOf(chunks);
});

interface Jws {
  payload: string;
  signatures: { protected: string; signature: string; header?: unknown }[];
}
const signed = async (manifest: unknown = good, ...by: TestKey[]): Promise<Uint8Array> =>
  signManifest(manifest, by.length > 0 ? by : [keys.online[0]]);
const open = (jws: Uint8Array): Jws => JSON.parse(new TextDecoder().decode(jws)) as Jws;
const b64 = (value: unknown): string => Buffer.from(json(value)).toString("base64url");
const routes = (change: Partial<SectionInfo>): Manifest => ({
  ...good,
  sections: { ...good.sections, routes: { ...good.sections.routes, ...change } },
});
const withRefs = (edit: (refs: ChunkRef[]) => readonly unknown[]): unknown =>
  routes({ chunks: edit([...good.sections.routes.chunks]) as ChunkRef[] });
const first = (): ChunkRef => good.sections.routes.chunks[0]!;

/** Signs `manifest` and rewrites the envelope. */
async function forged(edit: (jws: Jws) => unknown): Promise<Uint8Array> {
  const jws = open(await signed());
  return utf8(JSON.stringify(edit(jws) ?? jws));
}

/** A signature whose protected header says whatever is wanted, correctly signed. */
async function withHeader(header: object, key: CryptoKey = keys.online[0].key): Promise<Uint8Array> {
  const protectedHeader = { alg: "EdDSA", kid: keys.online[0].kid, typ: MANIFEST_TYP, ...header };
  const head = b64(protectedHeader);
  const payload = b64(good);
  const data = utf8(`${head}.${payload}`);
  const signature = await crypto.subtle.sign("Ed25519", key, data);
  return utf8(
    JSON.stringify({ payload, signatures: [{ protected: head, signature: Buffer.from(signature).toString("base64url") }] }),
  );
}

async function hmacWithPublicKey(): Promise<Uint8Array> {
  const x = (keys.online[0].public as { x: string }).x;
  const secret = Buffer.from(x, "base64url");
  const compact = await new CompactSign(json(good))
    .setProtectedHeader({ alg: "HS256", kid: keys.online[0].kid, typ: MANIFEST_TYP })
    .sign(secret);
  const [head, payload, signature] = compact.split(".");
  return utf8(JSON.stringify({ payload, signatures: [{ protected: head, signature }] }));
}

const held = (change: Partial<AcceptedState> = {}): { accepted: AcceptedState } => ({
  accepted: { epoch: 1, version: 5, payloadHash: "h".repeat(43), rootVersion: 1, rootHash: root.hash, ...change },
});

interface Attack {
  readonly name: string;
  readonly code: RefusalCode;
  readonly jws: () => Promise<Uint8Array>;
  readonly context?: () => Partial<AcceptContext> | Promise<Partial<AcceptContext>>;
}

const thresholds = async (roles: object) => ({
  root: await makeRoot(keys, { roles: { ...rootDocument(keys).roles, ...roles } }),
});

const ATTACKS: readonly Attack[] = [
  // the envelope
  { name: "no signatures member", code: "unsigned", jws: () => forged((jws) => ({ payload: jws.payload })) },
  { name: "signatures stripped", code: "unsigned", jws: () => forged((jws) => ({ ...jws, signatures: [] })) },
  {
    name: "empty signature",
    code: "unsigned",
    jws: () =>
      forged((jws) => {
        jws.signatures[0]!.signature = "";
      }),
  },
  { name: "alg none", code: "alg_refused", jws: () => withHeader({ alg: "none" }) },
  { name: "HMAC with the public key", code: "alg_refused", jws: hmacWithPublicKey },
  { name: "algorithm left out", code: "alg_refused", jws: () => withHeader({ alg: undefined }) },
  { name: "algorithm of another key", code: "alg_key_mismatch", jws: () => withHeader({ alg: "ES256" }) },
  { name: "unknown crit", code: "unknown_crit", jws: () => withHeader({ crit: ["exp2"], exp2: 1 }) },
  { name: "empty crit", code: "unknown_crit", jws: () => withHeader({ crit: [] }) },
  { name: "wrong typ", code: "wrong_typ", jws: () => signDocument(json(good), ROOT_TYP, [keys.online[0]]) },
  { name: "no typ", code: "wrong_typ", jws: () => withHeader({ typ: undefined }) },
  { name: "embedded key", code: "malformed", jws: () => withHeader({ jwk: stranger.public }) },
  { name: "key by URL", code: "malformed", jws: () => withHeader({ jku: "https://example.com/keys" }) },
  {
    name: "unprotected header",
    code: "malformed",
    jws: () =>
      forged((jws) => {
        jws.signatures[0]!.header = { kid: "x" };
      }),
  },
  { name: "flattened form", code: "unsigned", jws: () => forged((jws) => ({ payload: jws.payload, ...jws.signatures[0] })) },
  { name: "members besides", code: "malformed", jws: () => forged((jws) => ({ ...jws, extra: 1 })) },
  { name: "no JSON", code: "malformed", jws: async () => utf8("{") },
  { name: "no bytes", code: "malformed", jws: async () => utf8("") },
  {
    name: "byte order mark",
    code: "malformed",
    jws: async () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), await signed()]),
  },
  { name: "invalid UTF-8", code: "malformed", jws: async () => Buffer.from([0x22, 0xff, 0x22]) },
  {
    name: "padded base64",
    code: "malformed",
    jws: () =>
      forged((jws) => {
        jws.signatures[0]!.signature += "==";
      }),
  },
  {
    name: "the same signature twice",
    code: "duplicate_kid",
    jws: () => forged((jws) => ({ ...jws, signatures: [jws.signatures[0], jws.signatures[0]] })),
  },
  { name: "unknown key", code: "unknown_kid", jws: () => signed(good, stranger) },
  { name: "a good and an unknown signature", code: "unknown_kid", jws: () => signed(good, keys.online[0], stranger) },
  { name: "signed by another key than named", code: "bad_signature", jws: () => withHeader({}, stranger.key) },
  {
    name: "payload of another manifest",
    code: "bad_signature",
    jws: () =>
      forged((jws) => {
        jws.payload = b64({ ...good, version: 2 });
      }),
  },
  {
    name: "one good and one bad signature",
    code: "bad_signature",
    jws: async () => {
      const jws = open(await signed(good, keys.online[0], keys.online[2]));
      jws.signatures[1]!.signature = jws.signatures[0]!.signature;
      return utf8(JSON.stringify(jws));
    },
  },
  { name: "root key signs a manifest", code: "signer_outside_role", jws: () => signed(good, keys.root[0]!) },
  {
    name: "key of another role",
    code: "below_threshold",
    jws: () => signed(good, keys.online[1]),
    context: () => thresholds({ routes: { kids: [keys.online[0].kid], threshold: 1 } }),
  },
  {
    name: "too few signatures",
    code: "below_threshold",
    jws: () => signed(good, keys.online[0]),
    context: () => thresholds({ routes: { kids: keys.online.map((key) => key.kid), threshold: 2 } }),
  },
  {
    name: "widening with the narrowing threshold",
    code: "below_threshold",
    jws: () => signed(good, keys.online[0], keys.online[1]),
    context: () => thresholds({ egress: { kids: keys.online.map((key) => key.kid), threshold: 1, wideningThreshold: 3 } }),
  },
  // sizes
  {
    name: "manifest longer than maxManifestBytes",
    code: "too_large",
    jws: () => signed(),
    context: () => ({ limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxManifestBytes: 1_000 } }),
  },
  {
    name: "more than maxSignatures",
    code: "too_many_signatures",
    jws: () => signed(good, keys.online[0], keys.online[1]),
    context: () => ({ limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxSignatures: 1 } }),
  },
  {
    name: "more than maxChunks",
    code: "too_many_chunks",
    jws: () => signed(),
    context: () => ({ limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxChunks: 2 } }),
  },
  {
    name: "a chunk above maxChunkBytes",
    code: "too_large",
    jws: () => signed(),
    context: () => ({ limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxChunkBytes: 100 } }),
  },
  {
    name: "chunks above maxTotalBytes together",
    code: "too_large",
    jws: () => signed(),
    context: () => ({ limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxTotalBytes: 10_000 } }),
  },
  // what it says
  { name: "payload is no manifest", code: "invalid_manifest", jws: () => signed({}) },
  { name: "payload is null", code: "invalid_manifest", jws: () => signed(null) },
  { name: "unknown field", code: "invalid_manifest", jws: () => signed({ ...good, more: 1 }) },
  { name: "version as text", code: "invalid_manifest", jws: () => signed({ ...good, version: "1" }) },
  { name: "version zero", code: "invalid_manifest", jws: () => signed({ ...good, version: 0 }) },
  {
    name: "soft age after hard age",
    code: "invalid_manifest",
    jws: () => signed(routes({ softExp: NOW_S + 20, exp: NOW_S + 10 })),
  },
  { name: "needs a newer reader", code: "reader_too_old", jws: () => signed({ ...good, minReader: 2, newThing: true }) },
  { name: "newer schema", code: "reader_too_old", jws: () => signed({ ...good, schema: 2 }) },
  { name: "wrong issuer", code: "wrong_issuer", jws: () => signed({ ...good, iss: "other.test" }) },
  { name: "wrong audience", code: "wrong_audience", jws: () => signed({ ...good, aud: "inner" }) },
  // order
  { name: "older version", code: "rollback", jws: () => signed({ ...good, version: 4 }), context: () => held() },
  {
    name: "older than the floor",
    code: "rollback",
    jws: () => signed({ ...good, version: 4 }),
    context: () => ({ floor: { epoch: 1, version: 5 } }),
  },
  {
    name: "epoch before the root's",
    code: "rollback",
    jws: () => signed(),
    context: async () => ({ root: await makeRoot(keys, { epoch: 2 }) }),
  },
  { name: "epoch run ahead", code: "epoch_ahead", jws: () => signed({ ...good, epoch: 2 }) },
  {
    name: "same version, other content",
    code: "equivocation",
    jws: () => signed({ ...good, version: 5 }),
    context: () => held(),
  },
  {
    name: "successor of something else",
    code: "broken_chain",
    jws: () => signed({ ...good, version: 6, prevHash: `${"x".repeat(42)}A` }),
    context: () => held(),
  },
  { name: "successor of nothing", code: "broken_chain", jws: () => signed({ ...good, version: 6 }), context: () => held() },
  {
    name: "restoring what was not accepted",
    code: "rollback",
    jws: () => signed({ ...good, version: 5 }),
    context: () => ({ ...held(), purpose: "restore" }),
  },
  // time
  { name: "issued in the future", code: "future_iat", jws: () => signed({ ...good, iat: NOW_S + 31 }) },
  { name: "not yet valid", code: "not_yet_valid", jws: () => signed({ ...good, nbf: NOW_S + 31 }) },
  { name: "frozen: a section past its hard age", code: "expired", jws: () => signed(routes({ softExp: 1, exp: NOW_S - 30 })) },
  {
    name: "root expired",
    code: "root_expired",
    jws: () => signed(),
    context: async () => ({ root: await makeRoot(keys, { expires: NOW_S }) }),
  },
  // the chunk list
  { name: "empty delta: no chunk at all", code: "empty_snapshot", jws: () => signed(routes({ chunks: [] })) },
  {
    name: "two settings chunks",
    code: "empty_snapshot",
    jws: () => signed(withRefs((refs) => [...refs, { ...refs.at(-1), name: "more" }])),
  },
  {
    name: "unknown kind",
    code: "unknown_chunk_kind",
    jws: () => signed(withRefs((refs) => [...refs, { ...refs[0], kind: "plugins" }])),
  },
  {
    name: "kind from Object.prototype",
    code: "unknown_chunk_kind",
    jws: () => signed(withRefs((refs) => [...refs, { ...refs[0], kind: "constructor" }])),
  },
  {
    name: "wrong section",
    code: "chunk_wrong_section",
    jws: () => signed(withRefs((refs) => [...refs, { ...refs[0], kind: "egress" }])),
  },
  { name: "listed twice", code: "duplicate_chunk", jws: () => signed(withRefs((refs) => [...refs, refs[0]])) },
  {
    name: "same name, other content",
    code: "duplicate_chunk",
    jws: () => signed(withRefs((refs) => [...refs, { ...refs[0], bytes: 3 }])),
  },
  {
    name: "empty chunk",
    code: "invalid_manifest",
    jws: () => signed(withRefs((refs) => [{ ...refs[0], bytes: 0 }, ...refs.slice(1)])),
  },
  {
    name: "no hash",
    code: "invalid_manifest",
    jws: () => signed(withRefs((refs) => [{ ...refs[0], hash: "" }, ...refs.slice(1)])),
  },
  {
    name: "MD5",
    code: "invalid_manifest",
    jws: () => signed(withRefs((refs) => [{ ...refs[0], hash: "d41d8cd98f00b204e9800998ecf8427e" }])),
  },
];

describe("refused manifests", () => {
  test.each(ATTACKS)("$name: $code", async ({ code, jws, context }) => {
    const outcome = await verifyManifest(await jws(), contextOf(root, await context?.()));
    expect(outcome.ok ? "accepted" : outcome.error.code).toBe(code);
  });
});

describe("refused chunks", () => {
  const CASES: readonly [string, RefusalCode, (bytes: Uint8Array) => Uint8Array | undefined][] = [
    ["missing", "chunk_missing", () => undefined],
    ["truncated", "chunk_size", (bytes) => bytes.subarray(0, -1)],
    ["empty", "chunk_size", () => new Uint8Array()],
    ["oversized", "chunk_size", (bytes) => Buffer.concat([bytes, utf8(" ")])],
    ["changed", "chunk_hash", (bytes) => bytes.map((byte, i) => (i === 7 ? byte ^ 1 : byte))],
  ];
  test.each(CASES)("%s: %s", async (_name, code, edit) => {
    const edited = new Map(bytesByHash(chunks));
    const replacement = edit(edited.get(first().hash)!);
    if (replacement === undefined) edited.delete(first().hash);
    else edited.set(first().hash, replacement);
    const outcome = await acceptSnapshot(await signed(), edited, contextOf(root));
    expect(outcome).toMatchObject({ kind: "refused", refusal: { code } });
  });

  test("mix-and-match: a chunk of another signed snapshot under this one's name", async () => {
    const other = chunkSnapshot(makeSnapshot(21)).find(({ ref }) => ref.kind === first().kind && ref.name === first().name)!;
    const mixed = new Map(bytesByHash(chunks)).set(first().hash, other.bytes);
    expect(await acceptSnapshot(await signed(), mixed, contextOf(root))).toMatchObject({ kind: "refused" });
  });
});

describe("accepted manifests", () => {
  test.each([0, 1])("by key %i (EdDSA, ES256)", async (index) => {
    const outcome = await verifyManifest(await signed(good, keys.online[index]!), contextOf(root));
    expect(outcome).toMatchObject({ ok: true, value: { signers: [keys.online[index]!.kid], mayWiden: true, repeated: false } });
  });

  test("by three keys of both algorithms, each role at its threshold", async () => {
    const kids = keys.online.map((key) => key.kid);
    const roles = {
      routes: { kids, threshold: 2 },
      egress: { kids, threshold: 2, wideningThreshold: 3 },
      quota: { kids, threshold: 1 },
    };
    const outcome = await verifyManifest(await signed(good, ...keys.online), contextOf(root, await thresholds(roles)));
    expect(outcome).toMatchObject({ ok: true, value: { signers: kids } });
  });

  test("within the clock skew, both ways", async () => {
    for (const manifest of [{ ...good, iat: NOW_S + 30, nbf: NOW_S + 30 }, routes({ softExp: 1, exp: NOW_S - 29 })]) {
      expect((await verifyManifest(await signed(manifest), contextOf(root))).ok).toBe(true);
    }
  });

  test("the accepted one again, its named successor, and one after a gap", async () => {
    const once = await verifyManifest(await signed({ ...good, version: 5 }), contextOf(root));
    if (!once.ok) throw new Error(once.error.detail);
    const context = contextOf(root, { accepted: once.value.state });
    expect(await verifyManifest(await signed({ ...good, version: 5 }), context)).toMatchObject({
      ok: true,
      value: { repeated: true },
    });
    const successor = { ...good, version: 6, prevHash: once.value.payloadHash };
    expect((await verifyManifest(await signed(successor), context)).ok).toBe(true);
    expect((await verifyManifest(await signed({ ...good, version: 9 }), context)).ok).toBe(true);
  });

  test("version 1 again under a root that raised the epoch", async () => {
    const raised = await makeRoot(keys, { epoch: 2 });
    const context = contextOf(raised, held({ version: Number.MAX_SAFE_INTEGER - 1 }));
    expect((await verifyManifest(await signed({ ...good, epoch: 2 }), context)).ok).toBe(true);
  });

  test("restored after a restart, long expired", async () => {
    const once = await verifyManifest(await signed(), contextOf(root));
    if (!once.ok) throw new Error(once.error.detail);
    const later = { nowS: NOW_S + 10 * 365 * 86_400, accepted: once.value.state };
    expect((await verifyManifest(await signed(), contextOf(root, { ...later, purpose: "restore" }))).ok).toBe(true);
    expect((await verifyManifest(await signed(), contextOf(root, later))).ok).toBe(false);
  });

  test("peekManifest shows what it says without judging who signed", async () => {
    const peeked = await peekManifest(await signed(good, stranger), DEFAULT_SNAPSHOT_LIMITS);
    expect(peeked).toMatchObject({ ok: true, value: { kids: [stranger.kid], manifest: { version: 1 } } });
  });
});

describe("one flipped bit", () => {
  test("of the manifest is never accepted as something else", async () => {
    const bytes = await signed();
    const payload = open(bytes).payload;
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
        const flipped = bytes.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const outcome = await verifyManifest(flipped, contextOf(root));
        // JSON itself may be spelled in two ways; what was signed may not.
        expect(outcome.ok && open(flipped).payload !== payload).toBe(false);
        expect(outcome.ok).toBe(false);
      }),
      { seed: 7, numRuns: 400 },
    );
  });

  test("of a chunk is never accepted", async () => {
    const jws = await signed();
    await fc.assert(
      fc.asyncProperty(fc.nat(chunks.length - 1), fc.nat(), async (which, where) => {
        const chunk = chunks[which]!;
        const flipped = chunk.bytes.slice();
        const bit = where % (flipped.length * 8);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const outcome = await acceptSnapshot(jws, new Map(bytesByHash(chunks)).set(chunk.ref.hash, flipped), contextOf(root));
        expect(outcome).toMatchObject({ kind: "refused", refusal: { code: "chunk_hash" } });
      }),
      { seed: 7, numRuns: 100 },
    );
  });

  test("no bytes whatever make it throw", async () => {
    const property = fc.asyncProperty(fc.oneof(fc.uint8Array(), fc.json().map(utf8)), async (bytes) => {
      expect((await verifyManifest(bytes, contextOf(root))).ok).toBe(false);
    });
    await fc.assert(property, { seed: 7, numRuns: 300 });
  });
});
