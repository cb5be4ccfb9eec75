/** Manifests that nobody may accept: every forgery with the word for its refusal, and what they are made of. For each runtime that verifies. */
import { CompactSign, type CryptoKey } from "jose";
import { type Chunk, chunkSnapshot, signDocument } from "../../controlplane/snapshot/index.ts";
import {
  type AcceptContext,
  type AcceptedState,
  type ChunkRef,
  DEFAULT_SNAPSHOT_LIMITS,
  MANIFEST_TYP,
  type Manifest,
  type Refusal,
  ROOT_TYP,
  type RootDocument,
  type SectionInfo,
} from "../../gateway/core/ir/index.ts";
import {
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
} from "./snapshots.ts";

export const keys: Keys & { readonly online: readonly [TestKey, TestKey, TestKey] } = {
  root: [await makeKey()],
  online: [await makeKey("EdDSA"), await makeKey("ES256"), await makeKey("EdDSA")],
};
export const root = await makeRoot(keys);
export const stranger = await makeKey();
export const chunks: readonly Chunk[] = chunkSnapshot(makeSnapshot(20));
export const good: Manifest = manifestOf(chunks);

/** What of a reader decides besides the manifest; plain data, so that it can be handed to another runtime. */
export interface Reader extends Partial<Pick<AcceptContext, "accepted" | "floor" | "limits" | "purpose">> {
  /** How the trust root differs from the plain one. */
  readonly root?: Partial<RootDocument>;
}

interface Jws {
  payload: string;
  signatures: { protected: string; signature: string; header?: unknown }[];
}
export const signed = async (manifest: unknown = good, ...by: TestKey[]): Promise<Uint8Array> =>
  signManifest(manifest, by.length > 0 ? by : [keys.online[0]]);
export const open = (jws: Uint8Array): Jws => JSON.parse(new TextDecoder().decode(jws)) as Jws;
const b64 = (value: unknown): string => Buffer.from(json(value)).toString("base64url");
export const routes = (change: Partial<SectionInfo>): Manifest => ({
  ...good,
  sections: { ...good.sections, routes: { ...good.sections.routes, ...change } },
});
const withRefs = (edit: (refs: ChunkRef[]) => readonly unknown[]): unknown =>
  routes({ chunks: edit([...good.sections.routes.chunks]) as ChunkRef[] });
export const first = (): ChunkRef => good.sections.routes.chunks[0]!;

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

export const held = (change: Partial<AcceptedState> = {}): { accepted: AcceptedState } => ({
  accepted: { epoch: 1, version: 5, payloadHash: "h".repeat(43), rootVersion: 1, rootHash: root.hash, ...change },
});

export interface Forgery {
  readonly name: string;
  readonly code: Refusal["code"];
  readonly jws: () => Promise<Uint8Array>;
  /** What the reader holds and whom it trusts, where that is not the plain case. */
  readonly reader?: Reader;
}

const thresholds = (roles: object): Reader => ({ root: { roles: { ...rootDocument(keys).roles, ...roles } } });

export const FORGERIES: readonly Forgery[] = [
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
    reader: thresholds({ routes: { kids: [keys.online[0].kid], threshold: 1 } }),
  },
  {
    name: "too few signatures",
    code: "below_threshold",
    jws: () => signed(good, keys.online[0]),
    reader: thresholds({ routes: { kids: keys.online.map((key) => key.kid), threshold: 2 } }),
  },
  {
    name: "widening with the narrowing threshold",
    code: "below_threshold",
    jws: () => signed(good, keys.online[0], keys.online[1]),
    reader: thresholds({ egress: { kids: keys.online.map((key) => key.kid), threshold: 1, wideningThreshold: 3 } }),
  },
  // sizes
  {
    name: "manifest longer than maxManifestBytes",
    code: "too_large",
    jws: () => signed(),
    reader: { limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxManifestBytes: 1_000 } },
  },
  {
    name: "more than maxSignatures",
    code: "too_many_signatures",
    jws: () => signed(good, keys.online[0], keys.online[1]),
    reader: { limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxSignatures: 1 } },
  },
  {
    name: "more than maxChunks",
    code: "too_many_chunks",
    jws: () => signed(),
    reader: { limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxChunks: 2 } },
  },
  {
    name: "a chunk above maxChunkBytes",
    code: "too_large",
    jws: () => signed(),
    reader: { limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxChunkBytes: 100 } },
  },
  {
    name: "chunks above maxTotalBytes together",
    code: "too_large",
    jws: () => signed(),
    reader: { limits: { ...DEFAULT_SNAPSHOT_LIMITS, maxTotalBytes: 10_000 } },
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
  { name: "older version", code: "rollback", jws: () => signed({ ...good, version: 4 }), reader: held() },
  {
    name: "older than the floor",
    code: "rollback",
    jws: () => signed({ ...good, version: 4 }),
    reader: { floor: { epoch: 1, version: 5 } },
  },
  {
    name: "epoch before the root's",
    code: "rollback",
    jws: () => signed(),
    reader: { root: { epoch: 2 } },
  },
  { name: "epoch run ahead", code: "epoch_ahead", jws: () => signed({ ...good, epoch: 2 }) },
  {
    name: "same version, other content",
    code: "equivocation",
    jws: () => signed({ ...good, version: 5 }),
    reader: held(),
  },
  {
    name: "successor of something else",
    code: "broken_chain",
    jws: () => signed({ ...good, version: 6, prevHash: `${"x".repeat(42)}A` }),
    reader: held(),
  },
  { name: "successor of nothing", code: "broken_chain", jws: () => signed({ ...good, version: 6 }), reader: held() },
  {
    name: "restoring what was not accepted",
    code: "rollback",
    jws: () => signed({ ...good, version: 5 }),
    reader: { ...held(), purpose: "restore" },
  },
  // time
  { name: "issued in the future", code: "future_iat", jws: () => signed({ ...good, iat: NOW_S + 31 }) },
  { name: "not yet valid", code: "not_yet_valid", jws: () => signed({ ...good, nbf: NOW_S + 31 }) },
  { name: "frozen: a section past its hard age", code: "expired", jws: () => signed(routes({ softExp: 1, exp: NOW_S - 30 })) },
  {
    name: "root expired",
    code: "root_expired",
    jws: () => signed(),
    reader: { root: { expires: NOW_S } },
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

/** What may be wrong with a chunk's bytes. */
export const CHUNK_FORGERIES: readonly {
  readonly name: string;
  readonly code: Refusal["code"];
  /** @returns undefined: it does not come at all */
  readonly edit: (bytes: Uint8Array) => Uint8Array | undefined;
}[] = [
  { name: "missing", code: "chunk_missing", edit: () => undefined },
  { name: "truncated", code: "chunk_size", edit: (bytes) => bytes.subarray(0, -1) },
  { name: "empty", code: "chunk_size", edit: () => new Uint8Array() },
  { name: "oversized", code: "chunk_size", edit: (bytes) => Buffer.concat([bytes, utf8(" ")]) },
  { name: "changed", code: "chunk_hash", edit: (bytes) => bytes.map((byte, i) => (i === 7 ? byte ^ 1 : byte)) },
];

/** The chunks of the good snapshot with the first one edited. */
export function editedChunks(edit: (bytes: Uint8Array) => Uint8Array | undefined): ReadonlyMap<string, Uint8Array> {
  const edited = new Map(chunks.map(({ ref, bytes }) => [ref.hash, bytes]));
  const replacement = edit(edited.get(first().hash)!);
  if (replacement === undefined) edited.delete(first().hash);
  else edited.set(first().hash, replacement);
  return edited;
}
