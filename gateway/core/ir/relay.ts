/**
 * What a control plane and the relay of an edge site say to each other. Text frames are JSON with a `type`; a binary frame is one chunk: its hash as
 * 43 ASCII bytes, then the content. Over HTTPS the same messages travel as bodies. Nothing here is trusted for having come over the connection:
 * the relay believes signatures, and the control plane takes a relay's word only for what that relay itself holds.
 *
 *     control plane                         relay
 *                    ◄──────── hello ────────      what it holds, whom it trusts, what it can read
 *         root* manifest ────────────────────►
 *                    ◄──────── need ─────────      hashes it lacks, as many at a time as it wants to buffer
 *         chunk* ─────────────────────────────►
 *                    ◄── ack | nack | deferred ─
 *                    ◄────── enforced ───────      the isolates have it in force
 */
import { fail, ok, type Result } from "../result.ts";
import { array, boolean, type Check, integer, runCheck, text } from "./decode/check.ts";
import { hash as chunkHash } from "./decode/manifest.ts";
import { object, optional, type Shape, variants } from "./decode/object.ts";
import { DEFAULT_SNAPSHOT_LIMITS } from "./verify.ts";

export const RELAY_PROTOCOL = 1;
/** Where a site answers its control plane: the WebSocket at the path itself, the HTTPS fallback below it. */
export const RELAY_PATH = "/.tidegate/relay";

/** Asks for a sign of life. One fixed text, so that the runtime answers it without waking the relay. */
export const RELAY_PING = '{"type":"ping"}';
export const RELAY_PONG = '{"type":"pong"}';

/** Characters of a hash in front of a chunk's content: SHA-256 in base64url. */
const HASH_LENGTH = 43;
/** Text frame to a relay: a signed manifest at its limit, every character of it escaped. */
export const MAX_CONTROL_TEXT = 2 * DEFAULT_SNAPSHOT_LIMITS.maxManifestBytes + 4_096;
/** Binary frame to a relay: a chunk at its limit. */
export const MAX_CHUNK_FRAME_BYTES = HASH_LENGTH + DEFAULT_SNAPSHOT_LIMITS.maxChunkBytes;
/** Text frame from a relay: a refusal with every problem at its limit. */
export const MAX_RELAY_TEXT = 1_048_576;
/** Hashes that one message names. */
export const MAX_RELAY_HASHES = 4_096;
/** Problems that one refusal names. */
export const MAX_RELAY_PROBLEMS = 101;
/** Length of a problem's name or reason; a longer one is cut before it is sent. */
export const MAX_RELAY_REASON = 2_048;

export interface RelaySnapshotRef {
  readonly epoch: number;
  readonly version: number;
}

export interface RelayProblem {
  readonly name: string;
  readonly reason: string;
}

/** Says who the relay is. Sent first, and again only over a new connection. */
export interface RelayHello {
  readonly type: "hello";
  readonly protocol: number;
  readonly site: string;
  /** Pool whose snapshots it takes. */
  readonly audience: string;
  /** Hash that pins its first trust root. */
  readonly pin: string;
  /** Newest trust root that it follows; 0: none yet. */
  readonly rootVersion: number;
  readonly held?: RelaySnapshotRef;
  /** Unix ms at which `held` was accepted. */
  readonly heldSinceMs?: number;
  /** Whether the isolates have `held` in force, as far as the relay knows. */
  readonly enforced: boolean;
  readonly readerVersion: number;
  readonly software: string;
}

export type RelayMessage =
  | RelayHello
  | { readonly type: "need"; readonly snapshot: RelaySnapshotRef; readonly hashes: readonly string[] }
  | { readonly type: "ack"; readonly snapshot: RelaySnapshotRef }
  | {
      readonly type: "nack";
      /** Absent: the manifest could not even be read. */
      readonly snapshot?: RelaySnapshotRef;
      readonly code: string;
      readonly problems: readonly RelayProblem[];
      /** It is in force but for what `problems` names. */
      readonly partly: boolean;
    }
  /** Good, and kept until its rollout reaches the site. */
  | { readonly type: "deferred"; readonly snapshot: RelaySnapshotRef; readonly notBeforeS: number }
  /** Of `watchers` isolates that were told at once, so many have come back with it by the time within which every isolate asks. */
  | { readonly type: "enforced"; readonly snapshot: RelaySnapshotRef; readonly watchers: number; readonly returned: number }
  | { readonly type: "pong" };

export type ControlMessage =
  /** The next trust root; `document` is a JWS. */
  | { readonly type: "root"; readonly document: string }
  /** An offer; `jws` is the signed manifest. */
  | { readonly type: "manifest"; readonly jws: string }
  | { readonly type: "chunk"; readonly hash: string; readonly content: Uint8Array };

/** The HTTPS fallback's offer: roots that the relay lacks, then the manifest. */
export interface RelayOffer {
  readonly roots: readonly string[];
  readonly jws: string;
}

const COUNT = integer(0, Number.MAX_SAFE_INTEGER);
const hashes = array(chunkHash, MAX_RELAY_HASHES, 1);
const word = text({ max: 255 });
const reason = text({ max: MAX_RELAY_REASON, min: 0 });
const document = text({ max: MAX_CONTROL_TEXT });
const snapshot = object<RelaySnapshotRef>({ epoch: COUNT, version: COUNT });
const offer = object<RelayOffer>({ roots: array(document, 1_024), jws: document });

const helloShape: Shape<Omit<RelayHello, "type">> = {
  protocol: integer(1, 1_000_000),
  site: word,
  audience: word,
  pin: text({ max: 255, min: 0 }),
  rootVersion: COUNT,
  held: optional(snapshot),
  heldSinceMs: optional(COUNT),
  enforced: boolean,
  readerVersion: integer(1, 1_000_000),
  software: text({ max: 255, min: 0 }),
};

const relayMessage = variants<RelayMessage, "type">("type", {
  hello: helloShape,
  need: { snapshot, hashes },
  ack: { snapshot },
  nack: {
    snapshot: optional(snapshot),
    code: word,
    problems: array(object<RelayProblem>({ name: reason, reason }), MAX_RELAY_PROBLEMS),
    partly: boolean,
  },
  deferred: { snapshot, notBeforeS: COUNT },
  enforced: { snapshot, watchers: COUNT, returned: COUNT },
  pong: {},
});

type ControlText = Exclude<ControlMessage, { readonly type: "chunk" }>;
const controlText = variants<ControlText, "type">("type", {
  root: { document },
  manifest: { jws: document },
});

/** Reads a frame from a relay. Relays send text only. */
export function readRelayMessage(frame: string | Uint8Array): Result<RelayMessage> {
  if (typeof frame !== "string") return refuse("a relay sends text frames only, this is a binary one");
  return readText(frame, MAX_RELAY_TEXT, relayMessage);
}

/** Reads a frame from a control plane. A chunk's content is a view of the frame; its hash is only what the frame claims. */
export function readControlMessage(frame: string | Uint8Array): Result<ControlMessage> {
  return typeof frame === "string" ? readText(frame, MAX_CONTROL_TEXT, controlText) : readChunk(frame);
}

/** Reads the body of an offer over HTTPS. */
export function readRelayOffer(body: string): Result<RelayOffer> {
  return readText(body, MAX_CONTROL_TEXT, offer);
}

/** Whether a text from outside is a hash as chunks are named by. */
export function isChunkHash(candidate: string): boolean {
  return runCheck(chunkHash, candidate).ok;
}

export function relayFrame(message: RelayMessage): string {
  return JSON.stringify(message);
}

export function controlFrame(message: ControlMessage): string | Uint8Array<ArrayBuffer> {
  if (message.type !== "chunk") return JSON.stringify(message);
  const frame = new Uint8Array(HASH_LENGTH + message.content.byteLength);
  new TextEncoder().encodeInto(message.hash, frame);
  frame.set(message.content, HASH_LENGTH);
  return frame;
}

/** What a refusal says, cut to what a message holds. */
export function relayProblems(problems: readonly RelayProblem[]): readonly RelayProblem[] {
  const cut = (long: string) => (long.length > MAX_RELAY_REASON ? `${long.slice(0, MAX_RELAY_REASON - 1)}…` : long);
  return problems.slice(0, MAX_RELAY_PROBLEMS).map(({ name, reason: why }) => ({ name: cut(name), reason: cut(why) }));
}

function readText<T>(frame: string, max: number, check: Check<T>): Result<T> {
  if (frame.length > max) return refuse(`has ${frame.length} characters, at most ${max} are read`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(frame);
  } catch {
    return refuse("is not JSON");
  }
  return runCheck(check, parsed);
}

function readChunk(frame: Uint8Array): Result<ControlMessage> {
  if (frame.byteLength > MAX_CHUNK_FRAME_BYTES) {
    return refuse(`has ${frame.byteLength} bytes, at most ${MAX_CHUNK_FRAME_BYTES} are read`);
  }
  if (frame.byteLength <= HASH_LENGTH)
    return refuse(`has ${frame.byteLength} bytes: a chunk is ${HASH_LENGTH} of hash and its content`);
  let hash = "";
  for (const byte of frame.subarray(0, HASH_LENGTH)) hash += String.fromCharCode(byte);
  if (!isChunkHash(hash)) return refuse("does not begin with a SHA-256 hash in base64url");
  return ok({ type: "chunk", hash, content: frame.subarray(HASH_LENGTH) });
}

function refuse(problem: string): {
  readonly ok: false;
  readonly error: readonly [{ readonly path: string; readonly problem: string }];
} {
  return fail([{ path: "frame", problem }]);
}
