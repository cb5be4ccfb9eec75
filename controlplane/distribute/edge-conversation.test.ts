import { describe, expect, test } from "vitest";
import type { ControlMessage, RelayHello, RelayMessage } from "../../gateway/core/ir/index.ts";
import {
  MAX_OFFER_SILENCE_MS,
  MAX_RELAY_MESSAGES,
  SiteConversation,
  type SiteKnowledge,
  type SiteSnapshot,
  UNKNOWN_SITE,
} from "./edge-conversation.ts";

const v = (version: number) => ({ epoch: 1, version });
const hash = (letter: string) => `${letter.repeat(42)}A`;
const utf8 = (text: string) => new TextEncoder().encode(text);

function snapshot(version: number, ...letters: string[]): SiteSnapshot {
  return {
    ref: v(version),
    jws: utf8(`manifest-${version}`),
    chunks: new Map(letters.map((letter) => [hash(letter), utf8(letter)])),
  };
}

const HELLO: RelayHello = {
  type: "hello",
  protocol: 1,
  site: "europe",
  audience: "edge",
  pin: "p",
  rootVersion: 0,
  enforced: false,
  readerVersion: 1,
  software: "x",
};

/** Plays the relay; the clock stands still unless a test moves it. */
class Script {
  latest: SiteSnapshot | undefined;
  nowMs = 1_000;
  readonly sent: string[] = [];
  ended: string | undefined;
  known: SiteKnowledge;
  readonly conversation: SiteConversation;
  #timer: { readonly ms: number; readonly run: () => void } | undefined;

  constructor(latest?: SiteSnapshot, before: SiteKnowledge = UNKNOWN_SITE) {
    this.latest = latest;
    this.known = before;
    this.conversation = new SiteConversation(
      {
        site: "europe",
        pool: "edge",
        snapshots: {
          latest: () => this.latest,
          trustRoots: (from) => [utf8("root-1"), utf8("root-2")].slice(Math.max(0, from - 1)),
        },
        link: {
          send: (message) => this.sent.push(shown(message)),
          end: (reason) => {
            this.ended = reason;
          },
        },
        now: () => this.nowMs,
        after: (ms, run) => {
          const timer = { ms, run };
          this.#timer = timer;
          return () => {
            if (this.#timer === timer) this.#timer = undefined;
          };
        },
        onChange: (known) => {
          this.known = known;
        },
        log: () => undefined,
      },
      before,
    );
  }

  hear(...messages: RelayMessage[]): this {
    for (const message of messages) this.conversation.received(message);
    return this;
  }

  get awaitsWithinMs(): number | undefined {
    return this.#timer?.ms;
  }

  silence(): void {
    this.#timer?.run();
  }
}

function shown(message: ControlMessage): string {
  if (message.type === "root") return message.document;
  return message.type === "manifest" ? message.jws : `chunk ${new TextDecoder().decode(message.content)}`;
}

describe("a push", () => {
  test("roots, manifest, the chunks that are asked for, and both answers", () => {
    const script = new Script(snapshot(2, "a", "b"));
    script.hear(HELLO, { type: "need", snapshot: v(2), hashes: [hash("b")] });
    expect(script.sent).toEqual(["root-1", "root-2", "manifest-2", "chunk b"]);
    script.hear({ type: "need", snapshot: v(2), hashes: [hash("a")] });
    expect(script.known.state.kind).toBe("offered");
    script.hear({ type: "ack", snapshot: v(2) });
    expect(script.known).toMatchObject({ state: { kind: "synced", held: v(2) }, acceptedMs: 1_000, enforced: undefined });
    script.hear({ type: "enforced", snapshot: v(2), watchers: 2, returned: 2 });
    expect(script.known).toMatchObject({ enforced: v(2), late: undefined });
    expect(script.awaitsWithinMs).toBeUndefined();
  });

  test("a relay that holds the newest hears nothing, and its roots are known", () => {
    const script = new Script(snapshot(2, "a"));
    script.hear({ ...HELLO, held: v(2), heldSinceMs: 5, enforced: true, rootVersion: 2 });
    expect(script.sent).toEqual([]);
    expect(script.known).toMatchObject({ state: { kind: "synced" }, enforced: v(2), acceptedMs: 5 });
    script.latest = snapshot(3, "a");
    script.conversation.published();
    expect(script.sent).toEqual(["manifest-3"]);
  });

  test("a newer one while the older is on its way: what the relay still asks of the older is let be", () => {
    const script = new Script(snapshot(2, "a"));
    script.hear(HELLO);
    script.latest = snapshot(3, "b");
    script.conversation.published();
    script.hear({ type: "need", snapshot: v(2), hashes: [hash("a")] }, { type: "need", snapshot: v(3), hashes: [hash("b")] });
    expect(script.sent).toEqual(["root-1", "root-2", "manifest-2", "manifest-3", "chunk b"]);
    script.hear({ type: "ack", snapshot: v(2) });
    expect(script.known.state).toMatchObject({ kind: "offered", offered: v(3), held: v(2) });
    script.hear({ type: "ack", snapshot: v(3) }, { type: "ack", snapshot: v(2) });
    expect(script.ended).toBeUndefined();
  });

  test("a refusal says why, keeps what is held, and the next one is offered", () => {
    const script = new Script(snapshot(2, "a"));
    const nack = { type: "nack", code: "wrong_audience", problems: [{ name: "snapshot", reason: "r" }], partly: false } as const;
    script.hear({ ...HELLO, held: v(1) }, nack);
    expect(script.known.state).toMatchObject({ kind: "refused", refused: v(2), held: v(1), detail: { code: "wrong_audience" } });
    script.latest = snapshot(3, "a");
    script.conversation.published();
    expect(script.sent.at(-1)).toBe("manifest-3");
  });

  test("one that waits for its rollout is not waited for", () => {
    const script = new Script(snapshot(2, "a"));
    script.hear({ ...HELLO, held: v(1) }, { type: "deferred", snapshot: v(2), notBeforeS: 9 });
    expect(script.known).toMatchObject({ state: { kind: "offered" }, deferred: { snapshot: v(2), notBeforeS: 9 } });
    expect(script.awaitsWithinMs).toBeUndefined();
    script.hear({ type: "ack", snapshot: v(2) });
    expect(script.known).toMatchObject({ state: { kind: "synced" }, deferred: undefined });
  });

  test("isolates that did not come back are told of until another version is in force", () => {
    const script = new Script(snapshot(2, "a"));
    script.hear({ ...HELLO, held: v(2) }, { type: "enforced", snapshot: v(2), watchers: 3, returned: 1 });
    expect(script.known.late).toEqual({ watchers: 3, returned: 1 });
    const again = new Script(snapshot(2, "a"), script.known).hear({ ...HELLO, held: v(2), enforced: true });
    expect(again.known.late).toEqual({ watchers: 3, returned: 1 });
    again.hear({ type: "enforced", snapshot: v(3), watchers: 3, returned: 3 });
    expect(again.known.late).toBeUndefined();
  });

  test("a relay that lost what it had in force does not count as enforcing it", () => {
    const known = new Script(snapshot(2, "a")).hear({ ...HELLO, held: v(2), enforced: true }).known;
    const again = new Script(snapshot(2, "a"), known).hear({ ...HELLO, held: v(2), enforced: false });
    expect(again.known.enforced).toBeUndefined();
  });
});

describe("a relay that does not keep to it is left", () => {
  const offered = () => new Script(snapshot(2, "a", "b")).hear(HELLO);

  test.each<[string, readonly RelayMessage[], string]>([
    ["anything before hello", [{ type: "ack", snapshot: v(2) }], "ack before hello"],
    ["a second hello", [HELLO, HELLO], "a second hello"],
    ["another protocol", [{ ...HELLO, protocol: 2 }], "deploy the edge Worker of this release"],
    [
      "a chunk of another pool",
      [HELLO, { type: "need", snapshot: v(2), hashes: [hash("z")] }],
      "asked for a chunk that is not in snapshot 1.2",
    ],
    [
      "the same chunk twice",
      [HELLO, { type: "need", snapshot: v(2), hashes: [hash("a"), hash("a")] }],
      "asked for a chunk twice, of snapshot 1.2",
    ],
  ])("%s", (_name, messages, reason) => {
    const script = new Script(snapshot(2, "a", "b")).hear(...messages);
    expect(script.ended).toContain(reason);
    const sent = script.sent.length;
    script.hear({ type: "ack", snapshot: v(2) });
    script.conversation.published();
    expect([script.sent.length, script.awaitsWithinMs]).toEqual([sent, undefined]);
  });

  test("MAX_RELAY_MESSAGES within the window", () => {
    const script = offered();
    for (let i = 1; i < MAX_RELAY_MESSAGES; i++) script.hear({ type: "pong" });
    expect(script.ended).toBeUndefined();
    script.hear({ type: "pong" });
    expect(script.ended).toContain(`more than ${MAX_RELAY_MESSAGES} messages`);
  });

  test("the same number over a longer time is no flood", () => {
    const script = offered();
    for (let i = 0; i < 3 * MAX_RELAY_MESSAGES; i++) {
      script.nowMs += 20;
      script.hear({ type: "pong" });
    }
    expect(script.ended).toBeUndefined();
  });

  test("MAX_OFFER_SILENCE_MS: no hello, no answer to an offer, no answer to chunks", () => {
    const silent = new Script(snapshot(2, "a"));
    expect(silent.awaitsWithinMs).toBe(MAX_OFFER_SILENCE_MS);
    silent.silence();
    expect(silent.ended).toContain("did not introduce itself");
    const unanswered = offered();
    unanswered.silence();
    expect(unanswered.ended).toContain("did not answer an offer");
    const halfway = offered().hear({ type: "need", snapshot: v(2), hashes: [hash("a")] });
    halfway.silence();
    expect(halfway.ended).toContain("did not answer an offer");
  });

  test("with its pool still empty it is not expected to say anything", () => {
    expect(new Script().hear(HELLO).awaitsWithinMs).toBeUndefined();
  });
});

test("words about versions that were never offered move nothing but what the relay says of itself", () => {
  const script = new Script(snapshot(2, "a")).hear(HELLO);
  script.hear({ type: "ack", snapshot: v(99) }, { type: "enforced", snapshot: v(98), watchers: 0, returned: 0 });
  script.hear(
    { type: "deferred", snapshot: v(97), notBeforeS: 1 },
    { type: "nack", snapshot: v(96), code: "x", problems: [], partly: false },
  );
  expect(script.known).toMatchObject({ state: { kind: "offered", offered: v(2), held: v(99) }, deferred: undefined });
  expect(script.ended).toBeUndefined();
});
