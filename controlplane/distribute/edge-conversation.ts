/**
 * One connection's conversation with a site's relay: the session's events in, messages out. Pure: the link carries messages, timers are handed in.
 * A relay is a stranger with a certificate: whatever it says beyond what was agreed ends the conversation, and nothing that it says is believed of
 * anybody but itself.
 */
import {
  type ControlMessage,
  RELAY_PROTOCOL,
  type RelayHello,
  type RelayMessage,
  snapshotVersion,
} from "../../gateway/core/ir/index.ts";
import { unreachable } from "../../gateway/core/result.ts";
import { type SessionEvent, type SessionState, type SnapshotRef, sameSnapshot, transition } from "./session.ts";

/** What distribution to the edge needs to know of published snapshots. */
export interface SiteSnapshots {
  latest(pool: string): SiteSnapshot | undefined;
  /** Every trust root document in order of version, from `fromVersion` on. */
  trustRoots(fromVersion: number): readonly Uint8Array[];
}

export interface SiteSnapshot {
  readonly ref: SnapshotRef;
  readonly jws: Uint8Array;
  /** By hash. */
  readonly chunks: ReadonlyMap<string, Uint8Array>;
}

/** Carries messages to one relay. */
export interface SiteLink {
  send(message: ControlMessage): void;
  /** Ends the connection. */
  end(reason: string): void;
}

export type After = (ms: number, run: () => void) => () => void;

/** What is known of a site, over all its connections. */
export interface SiteKnowledge {
  readonly state: SessionState;
  readonly hello: RelayHello | undefined;
  /** Unix ms at which the version that it holds was accepted there. */
  readonly acceptedMs: number | undefined;
  /** Newest version that its isolates have in force. */
  readonly enforced: SnapshotRef | undefined;
  /** Isolates that were told of `enforced` and had not come back with it when the time for that was over. */
  readonly late: { readonly watchers: number; readonly returned: number } | undefined;
  /** An offer that waits for its rollout. */
  readonly deferred: { readonly snapshot: SnapshotRef; readonly notBeforeS: number } | undefined;
}

export const UNKNOWN_SITE: SiteKnowledge = {
  state: { kind: "awaiting-hello" },
  hello: undefined,
  acceptedMs: undefined,
  enforced: undefined,
  late: undefined,
  deferred: undefined,
};

export interface ConversationOptions {
  readonly site: string;
  readonly pool: string;
  readonly snapshots: SiteSnapshots;
  readonly link: SiteLink;
  /** Unix ms. */
  readonly now: () => number;
  readonly after: After;
  readonly onChange: (known: SiteKnowledge) => void;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** Longest silence about an offer. */
export const MAX_OFFER_SILENCE_MS = 30_000;
/** Messages from a relay within `MESSAGE_WINDOW_MS`; more is a flood. */
export const MAX_RELAY_MESSAGES = 1_000;
const MESSAGE_WINDOW_MS = 10_000;

export class SiteConversation {
  readonly #options: ConversationOptions;
  #known: SiteKnowledge;
  /** What was offered, as it was then. */
  #offer: { readonly snapshot: SiteSnapshot; readonly sent: Set<string> } | undefined;
  #rootVersion = 0;
  #messages = { sinceMs: 0, count: 0 };
  #over = false;
  #cancelSilence: () => void = () => undefined;

  /** @param before what earlier connections have shown. */
  constructor(options: ConversationOptions, before: SiteKnowledge) {
    this.#options = options;
    this.#known = { ...before, state: { kind: "awaiting-hello" } };
    this.#expectWord("did not introduce itself");
  }

  /** A new snapshot of the site's pool is there. */
  published(): void {
    const { snapshots, pool } = this.#options;
    const latest = snapshots.latest(pool);
    if (latest !== undefined) this.#apply({ kind: "published", latest: latest.ref });
  }

  received(message: RelayMessage): void {
    if (this.#over || this.#flooded()) return;
    switch (message.type) {
      case "hello":
        this.#greeted(message);
        break;
      case "need":
        this.#needed(message.snapshot, message.hashes);
        break;
      case "ack":
        this.#acked(message.snapshot);
        break;
      case "nack":
        this.#nacked(message);
        break;
      case "deferred":
        this.#putOff(message.snapshot, message.notBeforeS);
        break;
      case "enforced": {
        const { snapshot, watchers, returned } = message;
        this.#learn({ enforced: snapshot, late: returned < watchers ? { watchers, returned } : undefined });
        break;
      }
      case "pong":
        break;
      default:
        unreachable(message);
    }
  }

  /** The connection is over. */
  ended(): void {
    this.#over = true;
    this.#cancelSilence();
  }

  #greeted(hello: RelayHello): void {
    if (hello.protocol !== RELAY_PROTOCOL) {
      this.#end(
        `speaks relay protocol ${hello.protocol}, this control plane ${RELAY_PROTOCOL}: deploy the edge Worker of this release`,
      );
      return;
    }
    this.#cancelSilence();
    const { snapshots, pool } = this.#options;
    this.#rootVersion = hello.rootVersion;
    const { enforced: before, late } = this.#known;
    const enforced = hello.enforced ? hello.held : sameSnapshot(before, hello.held) ? undefined : before;
    this.#known = {
      ...this.#known,
      hello,
      acceptedMs: hello.heldSinceMs,
      enforced,
      late: sameSnapshot(before, enforced) ? late : undefined,
      deferred: undefined,
    };
    this.#apply({ kind: "hello", held: hello.held, latest: snapshots.latest(pool)?.ref });
  }

  #needed(snapshot: SnapshotRef, hashes: readonly string[]): void {
    const offer = this.#offer;
    // About an older offer: the relay has the newer one by now.
    if (offer === undefined || !sameSnapshot(offer.snapshot.ref, snapshot)) return;
    for (const hash of hashes) {
      const content = offer.snapshot.chunks.get(hash);
      if (content === undefined || offer.sent.has(hash)) {
        const how = content === undefined ? "that is not in" : "twice, of";
        this.#end(`asked for a chunk ${how} snapshot ${snapshotVersion(snapshot)}`);
        return;
      }
      offer.sent.add(hash);
      this.#options.link.send({ type: "chunk", hash, content });
    }
    this.#expectWord("did not answer an offer");
  }

  #putOff(snapshot: SnapshotRef, notBeforeS: number): void {
    if (!this.#isOffered(snapshot)) return;
    this.#cancelSilence();
    this.#learn({ deferred: { snapshot, notBeforeS } });
  }

  #acked(snapshot: SnapshotRef): void {
    if (this.#isOffered(snapshot)) this.#answered();
    this.#known = { ...this.#known, acceptedMs: this.#options.now(), deferred: undefined };
    this.#apply({ kind: "ack", snapshot });
  }

  #nacked({ snapshot: named, code, problems, partly }: Extract<RelayMessage, { readonly type: "nack" }>): void {
    // A manifest that could not even be read has no version to name: the answer is about what was offered last.
    const snapshot = named ?? this.#offer?.snapshot.ref;
    if (snapshot === undefined) return;
    if (this.#isOffered(snapshot)) this.#answered();
    const detail = { code, problems };
    const { site, log } = this.#options;
    log(partly ? "snapshot partly in force" : "snapshot refused", { site, version: snapshotVersion(snapshot), ...detail });
    this.#apply({ kind: "nack", snapshot, detail, partlyInForce: partly });
  }

  #apply(event: SessionEvent): void {
    if (this.#over) return;
    const next = transition(this.#known.state, event, this.#options.now());
    this.#learn({ state: next.state });
    if (next.action?.kind === "offer") this.#makeOffer();
    if (next.action?.kind === "close") this.#end(next.action.reason);
  }

  #makeOffer(): void {
    const { snapshots, pool, link } = this.#options;
    const latest = snapshots.latest(pool);
    if (latest === undefined) return;
    for (const document of snapshots.trustRoots(this.#rootVersion + 1)) {
      this.#rootVersion += 1;
      link.send({ type: "root", document: utf8(document) });
    }
    this.#offer = { snapshot: latest, sent: new Set() };
    const { state } = this.#known;
    // The newest may have moved on since the event was made: what is sent and what the state says have to be the same version.
    const moved = state.kind === "offered" && !sameSnapshot(state.offered, latest.ref);
    this.#learn({ deferred: undefined, ...(moved && { state: { ...state, offered: latest.ref } }) });
    link.send({ type: "manifest", jws: utf8(latest.jws) });
    this.#expectWord("did not answer an offer");
  }

  #isOffered(snapshot: SnapshotRef): boolean {
    return sameSnapshot(this.#offer?.snapshot.ref, snapshot);
  }

  #answered(): void {
    this.#cancelSilence();
    this.#offer = undefined;
  }

  #learn(news: Partial<SiteKnowledge>): void {
    this.#known = { ...this.#known, ...news };
    this.#options.onChange(this.#known);
  }

  #flooded(): boolean {
    const nowMs = this.#options.now();
    const fresh = nowMs - this.#messages.sinceMs >= MESSAGE_WINDOW_MS;
    this.#messages = fresh ? { sinceMs: nowMs, count: 1 } : { ...this.#messages, count: this.#messages.count + 1 };
    if (this.#messages.count <= MAX_RELAY_MESSAGES) return false;
    this.#end(`sent more than ${MAX_RELAY_MESSAGES} messages in ${MESSAGE_WINDOW_MS / 1000} s`);
    return true;
  }

  #expectWord(failing: string): void {
    this.#cancelSilence();
    this.#cancelSilence = this.#options.after(MAX_OFFER_SILENCE_MS, () =>
      this.#end(`${failing} within ${MAX_OFFER_SILENCE_MS / 1000} s`),
    );
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.ended();
    this.#options.link.end(`the relay ${reason}`);
  }
}

function utf8(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
