/**
 * The snapshot room: turns IR into signed, versioned, content-addressed snapshots, and keeps keys and history on disk.
 *
 * Invariants: a version number never has two contents; what is published was accepted by the readers' own code first; what is on disk is
 * whole or absent. It must never sign what it cannot verify, never show a private key, and never touch configuration.
 */
export { type Published, type PublishOutcome, SnapshotPublisher } from "./build.ts";
export { canonicalJson } from "./canonical.ts";
export { type Chunk, chunkSnapshot } from "./chunk.ts";
export { diffSnapshots } from "./diff.ts";
export { encodeSnapshotFile, readSnapshotFile, writeSnapshotFile } from "./file.ts";
export { SnapshotHistory } from "./history.ts";
export { DEFAULT_KEY_PLAN, initKeys, type KeyRing, loadKeys, rotateKeys } from "./keys.ts";
export { type Signer, signDocument } from "./sign.ts";
export { EDGE_SIZE_LIMITS, type SizeLimits } from "./size.ts";
export { DEFAULT_AGES, EVERYWHERE_AT_ONCE, makeManifest, type SectionAges } from "./version.ts";
