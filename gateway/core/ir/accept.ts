/**
 * From a signed manifest and its chunks to a snapshot that may be compiled and put in force: one order of checks for every
 * runtime. Nothing is remembered here; the runtime persists `state` before it swaps.
 */
import { ok, type Result } from "../result.ts";
import { assembleSnapshot, chunkKey, type DecodedChunk, type DecodedChunks, decodeChunks } from "./decode.ts";
import type { ChunkRef, Manifest, Snapshot } from "./manifest.ts";
import { type Refusal, refuse } from "./trust-refusal.ts";
import {
  type AcceptedState,
  chunkRefs,
  refuseOrder,
  type VerifiedManifest,
  type VerifyContext,
  verifyChunk,
  verifyManifest,
} from "./verify.ts";
import { isRolledOut } from "./verify-age.ts";
import { classifyChange } from "./verify-egress.ts";

/** A snapshot that was accepted: what the next one is judged against, and saves work on. */
export interface HeldSnapshot {
  readonly manifest: Manifest;
  readonly snapshot: Snapshot;
  readonly decoded: DecodedChunks;
}

export interface AcceptContext extends VerifyContext {
  /** Undefined: no gateway asks (a publisher, a tool), and rollouts are not looked at. */
  readonly gatewayId: string | undefined;
  /** What is in force; undefined: nothing yet. */
  readonly held: HeldSnapshot | undefined;
}

export type AcceptOutcome =
  | { readonly kind: "accepted"; readonly held: HeldSnapshot; readonly state: AcceptedState }
  /** It is in force already. */
  | { readonly kind: "repeated" }
  /** Good, but its rollout has not reached this gateway; look again at `notBefore` or with the next manifest. */
  | { readonly kind: "deferred"; readonly notBefore: number }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** Chunk bytes by hash, as received; only those that `missingChunks` asked for are needed. */
export type ChunkBytes = ReadonlyMap<string, Uint8Array>;

/** The whole way from bytes. For a reader that has to fetch chunks in between: `verifyManifest`, `missingChunks`, `acceptVerified`. */
export async function acceptSnapshot(jws: Uint8Array, chunks: ChunkBytes, context: AcceptContext): Promise<AcceptOutcome> {
  const verified = await verifyManifest(jws, context);
  return verified.ok ? acceptVerified(verified.value, chunks, context) : { kind: "refused", refusal: verified.error };
}

/** What has to be fetched before `acceptVerified`: each hash once, in the manifest's order. */
export function missingChunks(
  manifest: Manifest,
  held: HeldSnapshot | undefined,
  has: (hash: string) => boolean,
): readonly ChunkRef[] {
  const missing = new Map<string, ChunkRef>();
  for (const ref of chunkRefs(manifest)) {
    if (held?.decoded.has(chunkKey(ref)) !== true && !has(ref.hash)) missing.set(ref.hash, ref);
  }
  return [...missing.values()];
}

/**
 * Verifies the chunks, decodes what is new and judges the change. Order is judged again, because another snapshot may have been
 * accepted while chunks were on their way. A gateway that holds nothing takes a snapshot whatever its rollout says.
 */
export async function acceptVerified(
  verified: VerifiedManifest,
  chunks: ChunkBytes,
  context: AcceptContext,
): Promise<AcceptOutcome> {
  const { manifest, payloadHash } = verified;
  const { held, purpose, gatewayId } = context;
  const order = refuseOrder(manifest, payloadHash, context);
  if (order !== undefined) return { kind: "refused", refusal: order.error };
  if (held !== undefined && held.manifest.epoch === manifest.epoch && held.manifest.version === manifest.version) {
    return { kind: "repeated" };
  }
  const staged = purpose === "update" && held !== undefined && gatewayId !== undefined;
  if (staged && !isRolledOut(manifest.rollout, gatewayId, context.nowS)) {
    return { kind: "deferred", notBefore: manifest.rollout.notBefore };
  }
  const read = await readChunks(manifest, chunks, held);
  if (!read.ok) return { kind: "refused", refusal: read.error };
  const next: HeldSnapshot = { manifest, ...read.value };
  const change = purpose === "update" ? refuseWidening(verified, next, context) : undefined;
  if (change !== undefined) return { kind: "refused", refusal: change.error };
  return { kind: "accepted", held: next, state: verified.state };
}

async function readChunks(
  manifest: Manifest,
  chunks: ChunkBytes,
  held: HeldSnapshot | undefined,
): Promise<Result<Pick<HeldSnapshot, "snapshot" | "decoded">, Refusal>> {
  const refs = chunkRefs(manifest);
  const kept = new Map<string, DecodedChunk>();
  const fresh: { readonly ref: ChunkRef; readonly bytes: Uint8Array }[] = [];
  for (const ref of refs) {
    const known = held?.decoded.get(chunkKey(ref));
    if (known !== undefined && known.bytes === ref.bytes) {
      kept.set(chunkKey(ref), known);
      continue;
    }
    const bytes = chunks.get(ref.hash);
    if (bytes === undefined && known === undefined) return refuse("chunk_missing", `chunk ${ref.kind}/${ref.name} did not come`);
    if (bytes === undefined)
      return refuse("chunk_size", `chunk ${ref.kind}/${ref.name} is not of the size that the manifest says`);
    fresh.push({ ref, bytes });
  }
  for (const verdict of await Promise.all(fresh.map(({ ref, bytes }) => verifyChunk(ref, bytes)))) {
    if (!verdict.ok) return verdict;
  }
  const decoded = decodeChunks(fresh);
  if (!decoded.ok) return refuse("invalid_resource", "a resource of the snapshot is not what it must be", decoded.error);
  const all: DecodedChunks = new Map([...kept, ...decoded.value]);
  const snapshot = assembleSnapshot(refs, all);
  if (!snapshot.ok) return refuse("invalid_resource", "the snapshot's resources do not fit together", snapshot.error);
  return ok({ snapshot: snapshot.value, decoded: all });
}

/**
 * What counts is what this gateway holds: it may have missed versions, or hold nothing, so a change that may let more out needs the
 * widening threshold whatever the manifest calls itself. To the direct successor of what is held its own word applies as well.
 */
function refuseWidening(
  verified: VerifiedManifest,
  next: HeldSnapshot,
  context: AcceptContext,
): ReturnType<typeof refuse> | undefined {
  const { held, accepted } = context;
  if (classifyChange(held, next) === "narrowing") return undefined;
  if (!verified.mayWiden) {
    return refuse(
      "not_narrowing",
      "its egress section may let more out than what this gateway holds, and too few keys have signed for that",
    );
  }
  const successor = held !== undefined && accepted !== undefined && verified.manifest.prevHash === accepted.payloadHash;
  if (successor && verified.manifest.policyClass === "narrowing") {
    return refuse("not_narrowing", "it calls itself narrowing, and its egress section may let more out than its predecessor's");
  }
  return undefined;
}
