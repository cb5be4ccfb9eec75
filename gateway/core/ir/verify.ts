/**
 * Whether a manifest may replace what a gateway holds. Everything is decided from its arguments, so Node and Workers decide
 * alike; whatever is refused leaves the last good snapshot in force.
 */
import { ok, type Result } from "../result.ts";
import { runCheck } from "./decode/check.ts";
import { quoted } from "./decode/issues.ts";
import { type ManifestDocument, manifestDocument } from "./decode/manifest.ts";
import type { ChunkKind, ChunkRef, Manifest } from "./manifest.ts";
import { CHUNK_SECTION, MANIFEST_TYP, READER_VERSION, SECTIONS } from "./manifest.ts";
import { countSigners, requireUnexpired, type TrustRoot } from "./trust.ts";
import { openEnvelope, parseJson, readEnvelope, sha256 } from "./trust-jws.ts";
import { type Refusal, refuse } from "./trust-refusal.ts";

/** What a reader takes at most; everything is compared before it is parsed. */
export interface SnapshotLimits {
  /** The signed manifest as received. */
  readonly maxManifestBytes: number;
  readonly maxSignatures: number;
  readonly maxChunks: number;
  readonly maxChunkBytes: number;
  /** All chunks of a snapshot together. */
  readonly maxTotalBytes: number;
}
export const DEFAULT_SNAPSHOT_LIMITS: SnapshotLimits = {
  maxManifestBytes: 1_048_576,
  maxSignatures: 16,
  maxChunks: 4_096,
  maxChunkBytes: 8_388_608,
  maxTotalBytes: 67_108_864,
};
/**
 * What an edge site takes: a Worker has 128 MB for the chunks, what is decoded of them, and two generations of tables while one replaces the other; and
 * one call between a Durable Object and an isolate carries at most 32 MiB.
 */
export const EDGE_SNAPSHOT_LIMITS: SnapshotLimits = { ...DEFAULT_SNAPSHOT_LIMITS, maxTotalBytes: 25_165_824 };

/** What a reader has to remember over restarts: written before the snapshot is put in force. Plain JSON. */
export interface AcceptedState {
  readonly epoch: number;
  readonly version: number;
  readonly payloadHash: string;
  /** Trust root under which it was accepted: it is read back under that one. */
  readonly rootVersion: number;
  readonly rootHash: string;
}

/** Lowest version a reader without memory takes; comes with its enrolment. */
export interface VersionFloor {
  readonly epoch: number;
  readonly version: number;
}

export interface VerifyContext {
  readonly root: TrustRoot;
  /** Pool of this gateway. */
  readonly audience: string;
  readonly accepted: AcceptedState | undefined;
  readonly floor: VersionFloor | undefined;
  /** Wall clock, Unix seconds. */
  readonly nowS: number;
  /** How much the issuer's clock may be ahead of or behind `nowS`. */
  readonly clockSkewS: number;
  readonly limits: SnapshotLimits;
  /**
   * `update`: something new from the control plane. `restore`: the reader's own last good snapshot after a restart; it must be exactly
   * the accepted one, and its age is left to `sectionState`.
   */
  readonly purpose: "update" | "restore";
}

export interface VerifiedManifest {
  readonly manifest: Manifest;
  readonly payloadHash: string;
  readonly signers: readonly string[];
  /** Enough egress signatures for a change that may let more out. */
  readonly mayWiden: boolean;
  /** It is the accepted one once more. */
  readonly repeated: boolean;
  /** What to persist when it is put in force. */
  readonly state: AcceptedState;
}

/** Verifies form, signatures, roles, audience, order, time and sizes of a manifest; its chunks come after it (`verifyChunk`). */
export async function verifyManifest(jws: Uint8Array, context: VerifyContext): Promise<Result<VerifiedManifest, Refusal>> {
  const { root, limits } = context;
  if (context.purpose === "update") {
    const current = requireUnexpired(root, context.nowS);
    if (!current.ok) return current;
  }
  const opened = await openEnvelope(jws, MANIFEST_TYP, root.keys, {
    maxBytes: limits.maxManifestBytes,
    maxSignatures: limits.maxSignatures,
  });
  if (!opened.ok) return opened;
  const { payload, payloadHash, signers } = opened.value;
  const read = readManifest(payload, limits);
  if (!read.ok) return read;
  const manifest = read.value;
  const refusal =
    refuseSigners(manifest, root, signers) ??
    refuseAddressee(manifest, context) ??
    refuseOrder(manifest, payloadHash, context) ??
    (context.purpose === "update" ? refuseTime(manifest, context) : undefined);
  if (refusal !== undefined) return refusal;
  const { egress } = root.document.roles;
  return ok({
    manifest,
    payloadHash,
    signers,
    mayWiden: countSigners(egress, signers) >= egress.wideningThreshold,
    repeated: isAccepted(manifest, context.accepted),
    state: {
      epoch: manifest.epoch,
      version: manifest.version,
      payloadHash,
      rootVersion: root.document.version,
      rootHash: root.hash,
    },
  });
}

/** What a signed manifest says of itself, with nothing verified but form and sizes: to show it, never to act on it. */
export async function peekManifest(
  jws: Uint8Array,
  limits: SnapshotLimits,
): Promise<Result<{ readonly manifest: Manifest; readonly payloadHash: string; readonly kids: readonly string[] }, Refusal>> {
  const envelope = readEnvelope(jws, MANIFEST_TYP, { maxBytes: limits.maxManifestBytes, maxSignatures: limits.maxSignatures });
  if (!envelope.ok) return envelope;
  const { payload, signatures } = envelope.value;
  const manifest = readManifest(payload, limits);
  if (!manifest.ok) return manifest;
  return ok({ manifest: manifest.value, payloadHash: await sha256(payload), kids: signatures.map(({ kid }) => kid) });
}

type Refused = ReturnType<typeof refuse> | undefined;

function readManifest(payload: Uint8Array, limits: SnapshotLimits): Result<Manifest, Refusal> {
  const raw = parseJson(payload);
  const newer = refuseNewerFormat(raw);
  if (newer !== undefined) return newer;
  const decoded = runCheck(manifestDocument, raw);
  if (!decoded.ok) return refuse("invalid_manifest", "the manifest is not what a manifest must be", decoded.error);
  const refusal = refuseChunkList(decoded.value, limits);
  // Chunk kinds are words from outside until `refuseChunkList` has looked at them.
  return refusal ?? ok(decoded.value as Manifest);
}

/** Before anything else of the payload is looked at: a newer format may well not fit the checks of this one. */
function refuseNewerFormat(raw: unknown): Refused {
  if (typeof raw !== "object" || raw === null) return undefined;
  const { minReader, schema } = raw as { minReader?: unknown; schema?: unknown };
  if ((typeof minReader === "number" && minReader > READER_VERSION) || (typeof schema === "number" && schema > 1)) {
    return refuse(
      "reader_too_old",
      `the snapshot needs a reader of version ${String(minReader)}, this is ${READER_VERSION}: update the gateway`,
    );
  }
  return undefined;
}

function refuseChunkList(manifest: ManifestDocument, limits: SnapshotLimits): Refused {
  const names = new Set<string>();
  let total = 0;
  let settings = 0;
  for (const section of SECTIONS) {
    for (const { kind, name, bytes } of manifest.sections[section].chunks) {
      const label = quoted(`${kind}/${name}`);
      if (!isChunkKind(kind)) return refuse("unknown_chunk_kind", `chunk ${label} is of no known kind`);
      if (CHUNK_SECTION[kind] !== section)
        return refuse("chunk_wrong_section", `chunk ${label} does not belong in section ${section}`);
      if (names.has(label)) return refuse("duplicate_chunk", `chunk ${label} is listed twice`);
      if (bytes > limits.maxChunkBytes) {
        return refuse("too_large", `chunk ${label} has ${bytes} bytes, at most ${limits.maxChunkBytes} are read`);
      }
      names.add(label);
      total += bytes;
      if (kind === "settings") settings++;
    }
  }
  if (names.size > limits.maxChunks) {
    return refuse("too_many_chunks", `${names.size} chunks are listed, at most ${limits.maxChunks} are read`);
  }
  if (total > limits.maxTotalBytes) {
    return refuse("too_large", `the snapshot has ${total} bytes, at most ${limits.maxTotalBytes} are read`);
  }
  if (settings !== 1) return refuse("empty_snapshot", `a snapshot has exactly one settings chunk, this has ${settings}`);
  return undefined;
}

function isChunkKind(kind: string): kind is ChunkKind {
  return Object.hasOwn(CHUNK_SECTION, kind);
}

/** Every section's role has to agree, also to a section without chunks: leaving one out is a change like any other. */
function refuseSigners(manifest: Manifest, root: TrustRoot, signers: readonly string[]): Refused {
  const { roles } = root.document;
  for (const kid of signers) {
    if (!SECTIONS.some((section) => roles[section].kids.includes(kid))) {
      return refuse("signer_outside_role", `key ${kid} has no role for a section of a snapshot`);
    }
  }
  for (const section of SECTIONS) {
    const widening = section === "egress" && manifest.policyClass === "widening";
    const needed = widening ? roles.egress.wideningThreshold : roles[section].threshold;
    const count = countSigners(roles[section], signers);
    if (count >= needed) continue;
    const what = widening ? "egress (widening)" : section;
    return refuse("below_threshold", `role ${what} asks for ${needed} signature(s) by different keys, ${count} are there`);
  }
  return undefined;
}

function refuseAddressee(manifest: Manifest, context: VerifyContext): Refused {
  const { iss } = context.root.document;
  if (manifest.iss !== iss)
    return refuse("wrong_issuer", `it is by ${quoted(manifest.iss)}, the trust root is by ${quoted(iss)}`);
  if (manifest.aud === context.audience) return undefined;
  return refuse("wrong_audience", `it is for pool ${quoted(manifest.aud)}, this gateway is in ${quoted(context.audience)}`);
}

/**
 * The epoch is the root's, so online keys cannot run ahead with it. Within an epoch versions only rise; a gap is normal (a reader may
 * have been away), but the direct successor has to name what the reader holds as its predecessor: otherwise somebody keeps two
 * histories.
 */
export function refuseOrder(manifest: Manifest, payloadHash: string, context: VerifyContext): Refused {
  const { accepted, floor, purpose, root } = context;
  const { epoch, version } = manifest;
  const what = `snapshot ${epoch}.${version}`;
  if (purpose === "restore") {
    if (isAccepted(manifest, accepted) && accepted?.payloadHash === payloadHash) return undefined;
    return refuse("rollback", `${what} is not the one this gateway accepted last`);
  }
  if (epoch < root.document.epoch)
    return refuse("rollback", `${what} is of an epoch before ${root.document.epoch}, the trust root's`);
  if (epoch > root.document.epoch)
    return refuse("epoch_ahead", `${what} is of an epoch after ${root.document.epoch}, the trust root's`);
  if (floor !== undefined && isBefore(manifest, floor)) {
    return refuse("rollback", `${what} is older than ${floor.epoch}.${floor.version}, which this gateway was enrolled at`);
  }
  if (accepted === undefined) return undefined;
  if (isBefore(manifest, accepted)) {
    return refuse("rollback", `${what} is older than ${accepted.epoch}.${accepted.version}, which is accepted`);
  }
  if (isAccepted(manifest, accepted)) {
    if (accepted.payloadHash === payloadHash) return undefined;
    return refuse("equivocation", `${what} has other content than the ${what} that is accepted`);
  }
  const follows = epoch === accepted.epoch && version === accepted.version + 1;
  if (follows && manifest.prevHash !== accepted.payloadHash) {
    return refuse(
      "broken_chain",
      `${what} does not name ${accepted.epoch}.${accepted.version} as accepted here for its predecessor`,
    );
  }
  return undefined;
}

function isBefore(a: VersionFloor, b: VersionFloor): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.version < b.version);
}

function isAccepted(manifest: Manifest, accepted: AcceptedState | undefined): boolean {
  return accepted !== undefined && manifest.epoch === accepted.epoch && manifest.version === accepted.version;
}

function refuseTime(manifest: Manifest, { nowS, clockSkewS }: VerifyContext): Refused {
  const latest = nowS + clockSkewS;
  if (manifest.iat > latest)
    return refuse("future_iat", `it was issued ${manifest.iat - nowS} s in the future: check both clocks`);
  if (manifest.nbf > latest) return refuse("not_yet_valid", `it is valid only in ${manifest.nbf - nowS} s`);
  for (const section of SECTIONS) {
    const { exp } = manifest.sections[section];
    if (nowS - clockSkewS >= exp) return refuse("expired", `its section ${section} expired ${nowS - exp} s ago`);
  }
  return undefined;
}

/** Every chunk of the manifest, in its order. */
export function chunkRefs(manifest: Manifest): readonly ChunkRef[] {
  return SECTIONS.flatMap((section) => manifest.sections[section].chunks);
}

/** Holds a chunk's bytes against what the manifest says of them: size first, then the hash. */
export async function verifyChunk(ref: ChunkRef, bytes: Uint8Array): Promise<Result<Uint8Array, Refusal>> {
  const label = `${ref.kind}/${ref.name}`;
  if (bytes.byteLength !== ref.bytes) {
    return refuse("chunk_size", `chunk ${quoted(label)} has ${bytes.byteLength} bytes, the manifest says ${ref.bytes}`);
  }
  if ((await sha256(bytes)) !== ref.hash) return refuse("chunk_hash", `chunk ${quoted(label)} is not what the manifest names`);
  return ok(bytes);
}
