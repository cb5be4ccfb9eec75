import { beforeAll, describe, expect, test } from "vitest";
import { chunkSnapshot } from "../../controlplane/snapshot/index.ts";
import {
  type Keys,
  makeKey,
  makeSnapshot,
  manifestOf,
  NOW_S,
  pinOf,
  rootDocument,
  signManifest,
  signRoot,
  type TestKey,
} from "../../test/support/snapshots.ts";
import type { Manifest, RootDocument, Snapshot } from "../core/ir/index.ts";
import { HARD_TTL_MS, type InForce, Isolate, type IsolateOptions, JUDGE_AGAIN_MS, MAX_ASK_MS, SOFT_TTL_MS } from "./isolate.ts";
import { MAX_WATCH_MS, type RelayAnswer, type RelayChunk, type RelayRpc } from "./relay-rpc.ts";

let keys: Keys;
let rootKey: TestKey;
let document: RootDocument;
let rootBytes: Uint8Array;
let pin: string;
beforeAll(async () => {
  rootKey = await makeKey();
  keys = { root: [rootKey], online: [await makeKey()] };
  document = rootDocument(keys);
  rootBytes = await signRoot(document, keys.root);
  pin = await pinOf(document);
});

type Offer = Extract<RelayAnswer, { kind: "snapshot" }>;

/** Number `n` is version `10 n`: a gap between any two, so that none has to name its predecessor. */
async function offer(n: number, change: Partial<Manifest> = {}, snapshot: Snapshot = makeSnapshot(n)): Promise<Offer> {
  const version = 10 * n;
  const chunks = chunkSnapshot(snapshot);
  return {
    kind: "snapshot",
    version: `1.${version}`,
    manifest: await signManifest(manifestOf(chunks, { version, ...change }), keys.online),
    roots: [rootBytes],
    chunks: chunks.map(({ ref, bytes }) => ({ hash: ref.hash, bytes })),
  };
}

/** A clock that goes on when somebody waits, and timers on it. */
class Time {
  nowMs = 0;
  #timers: { atMs: number; run: () => void }[] = [];

  readonly clock = { now: () => this.nowMs, unixMs: () => NOW_S * 1000 + this.nowMs };
  readonly arm = (delayMs: number, run: () => void) => {
    const timer = { atMs: this.nowMs + delayMs, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  };

  /** Lets so much time go by; whatever is due runs, and what it starts. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      await settled();
      const next = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = untilMs;
  }
}

/** WebCrypto works on threads of its own: how many calls are out. */
let busy = 0;
for (const name of ["digest", "importKey", "verify"] as const) {
  const original = crypto.subtle[name].bind(crypto.subtle) as (...args: unknown[]) => Promise<unknown>;
  const counted = async (...args: unknown[]): Promise<unknown> => {
    busy++;
    try {
      return await original(...args);
    } finally {
      busy--;
    }
  };
  Object.defineProperty(crypto.subtle, name, { value: counted });
}

/** All that can go on without time going by has gone on. */
async function settled(): Promise<void> {
  for (let quiet = 0; quiet < 5; quiet = busy === 0 ? quiet + 1 : 0) await new Promise((resolve) => setImmediate(resolve));
}

type Play = (have: string | undefined) => RelayAnswer | Promise<RelayAnswer>;

/** A relay that plays what it is told, and notes what it was asked. */
class ScriptedRelay implements RelayRpc {
  readonly asked: string[] = [];
  play: Play;
  watched: Play = () => new Promise(() => undefined);
  known: readonly RelayChunk[] = [];

  constructor(play: Play) {
    this.play = play;
  }
  async current(have: string | undefined): Promise<RelayAnswer> {
    this.asked.push(`current ${have ?? "-"}`);
    return await this.play(have);
  }
  async watch(have: string | undefined, waitMs: number): Promise<RelayAnswer> {
    this.asked.push(`watch ${have ?? "-"} ${waitMs}`);
    return await this.watched(have);
  }
  async chunks(hashes: readonly string[]): Promise<readonly RelayChunk[]> {
    this.asked.push(`chunks ${hashes.length}`);
    return this.known.filter(({ hash }) => hashes.includes(hash));
  }
  count(word: string): number {
    return this.asked.filter((line) => line.startsWith(word)).length;
  }
}

/** Answers as a relay that holds this snapshot. */
const holds =
  (held: Offer): Play =>
  (have) =>
    have === held.version ? { kind: "unchanged" } : held;
const silent: Play = () => new Promise(() => undefined);

interface Bench {
  readonly isolate: Isolate;
  readonly relay: ScriptedRelay;
  readonly time: Time;
  readonly logged: string[];
  /** One request: what it is held against, after what it had to wait for. */
  request(): Promise<InForce | undefined>;
}

function bench(play: Play, change: Partial<IsolateOptions> = {}): Bench {
  const time = new Time();
  const relay = new ScriptedRelay(play);
  const logged: string[] = [];
  const isolate = new Isolate({
    site: "europe",
    audience: "edge",
    trustRoot: pin,
    floor: undefined,
    compile: {},
    clock: time.clock,
    random: () => 0.5,
    arm: time.arm,
    log: (level, message, fields) => void logged.push(`${level} ${message} ${JSON.stringify(fields)}`),
    ...change,
  });
  const request = async (): Promise<InForce | undefined> => {
    const answer = isolate.inForce(relay, { waitUntil: (work) => void work });
    let found = answer instanceof Promise ? undefined : { value: answer };
    if (answer instanceof Promise) void answer.then((value) => (found = { value }));
    await settled();
    for (let waitedMs = 0; found === undefined && waitedMs < 2 * MAX_ASK_MS; waitedMs += 500) await time.pass(500);
    if (found === undefined) throw new Error("the request was never answered");
    await settled();
    return found.value;
  };
  return { isolate, relay, time, logged, request };
}

describe("freshness", () => {
  test("the first request fetches for itself, those behind it wait for that one fetch", async () => {
    const { isolate, relay, time } = bench(holds(await offer(1)));
    const answers = [1, 2, 3].map(() => isolate.inForce(relay, { waitUntil: () => undefined }));
    expect(answers.every((answer) => answer instanceof Promise)).toBe(true);
    await time.pass(20);
    expect((await Promise.all(answers)).map((held) => held?.version)).toEqual(["1.10", "1.10", "1.10"]);
    expect(relay.count("current")).toBe(1);
    expect(isolate.inForce(relay, { waitUntil: () => undefined })).not.toBeInstanceOf(Promise);
  });

  test("a request that was cut off while it asked blocks the others for MAX_ASK_MS at most", async () => {
    let cut = true;
    // Whoever is cut off takes its timers along.
    const time = new Time();
    const { isolate, relay } = bench(silent, {
      clock: time.clock,
      arm: (ms, run) => (cut ? () => undefined : time.arm(ms, run)),
    });
    void isolate.inForce(relay, { waitUntil: () => undefined });
    cut = false;
    relay.play = holds(await offer(1));
    const answer = isolate.inForce(relay, { waitUntil: () => undefined });
    await time.pass(MAX_ASK_MS - 10);
    expect(relay.count("current")).toBe(1);
    await time.pass(20);
    expect((await answer)?.version).toBe("1.10");
  });

  test("within SOFT_TTL_MS nobody asks; past it one asks in the background and nobody waits", async () => {
    const { isolate, relay, time, request } = bench(holds(await offer(1)));
    await request();
    await time.pass(SOFT_TTL_MS * 0.7);
    await request();
    expect(relay.count("current")).toBe(1);
    relay.play = holds(await offer(2));
    await time.pass(SOFT_TTL_MS * 0.3);
    for (let i = 0; i < 3; i++) expect(isolate.inForce(relay, { waitUntil: () => undefined })).toMatchObject({ version: "1.10" });
    await settled();
    expect(relay.count("current")).toBe(2);
    expect((await request())?.version).toBe("1.20");
  });

  test("dice spread the soft TTL over its last quarter", async () => {
    const { relay, time, request } = bench(holds(await offer(1)), { random: () => 0 });
    await request();
    await time.pass(SOFT_TTL_MS * 0.75 - 1);
    await request();
    expect(relay.count("current")).toBe(1);
    await time.pass(1);
    await request();
    expect(relay.count("current")).toBe(2);
  });

  test("past HARD_TTL_MS a request waits for the relay", async () => {
    const { isolate, relay, time, request } = bench(holds(await offer(1)));
    await request();
    relay.play = holds(await offer(2));
    await time.pass(HARD_TTL_MS);
    expect(isolate.inForce(relay, { waitUntil: () => undefined })).toBeInstanceOf(Promise);
    expect((await request())?.version).toBe("1.20");
  });

  test("past HARD_TTL_MS with a relay that is silent: once MAX_ASK_MS, then what is held, and no crowd of questions", async () => {
    const { isolate, relay, time, request } = bench(holds(await offer(1)));
    await request();
    relay.play = silent;
    await time.pass(HARD_TTL_MS);
    expect((await request())?.version).toBe("1.10");
    const asked = relay.asked.length;
    for (let i = 0; i < 50; i++)
      expect(isolate.inForce(relay, { waitUntil: () => undefined })).toMatchObject({ version: "1.10" });
    expect(relay.asked).toHaveLength(asked);
  });

  test("a watch is kept open, one at a time, and brings what is new without a request", async () => {
    const { relay, isolate, time, request } = bench(holds(await offer(1)));
    const next = await offer(2);
    let publish: (answer: RelayAnswer) => void = () => undefined;
    relay.watched = () => new Promise((resolve) => (publish = resolve));
    await request();
    await request();
    expect(relay.asked.filter((line) => line.startsWith("watch"))).toEqual([`watch 1.10 ${MAX_WATCH_MS}`]);
    publish(next);
    await settled();
    expect(isolate.status().version).toBe("1.20");
    await time.pass(150);
    await request();
    expect(relay.asked.at(-1)).toBe(`watch 1.20 ${MAX_WATCH_MS}`);
  });

  test("a watch that was cut off with its request is opened anew when it must be over", async () => {
    const { relay, time, request } = bench(holds(await offer(1)));
    await request();
    await time.pass(MAX_WATCH_MS + MAX_ASK_MS);
    await request();
    await settled();
    expect(relay.count("watch")).toBe(1);
    await time.pass(5_000);
    await request();
    expect(relay.count("watch")).toBe(2);
  });

  test("a relay that throws is left alone for longer and longer, and what is held stays", async () => {
    const { relay, time, logged, request } = bench(holds(await offer(1)));
    await request();
    relay.play = () => Promise.reject(new Error("object reset"));
    for (let i = 0; i < 120; i++) {
      await time.pass(500);
      expect((await request())?.version).toBe("1.10");
    }
    expect(relay.count("current")).toBeLessThan(40);
    expect(logged.filter((line) => line.includes("object reset"))).toHaveLength(1);
  });

  test("a site without a snapshot: nothing in force, asked again soon, not by everyone", async () => {
    const { relay, time, request } = bench(() => ({ kind: "none" }));
    expect(await request()).toBeUndefined();
    expect(await request()).toBeUndefined();
    expect(relay.count("current")).toBe(1);
    relay.play = holds(await offer(1));
    await time.pass(100);
    expect((await request())?.version).toBe("1.10");
  });
});

describe("age", () => {
  const sections = (version: number, egressExp: number, fail: "keep" | "closed") => {
    const { sections: all } = manifestOf(chunkSnapshot(makeSnapshot(version)), { version });
    const old = { softExp: NOW_S + 10, exp: NOW_S + egressExp, failMode: fail };
    return {
      routes: { ...all.routes, ...old },
      egress: { ...all.egress, ...old, failMode: "closed" as const },
      quota: { ...all.quota, ...old },
    };
  };

  test("past its age each section does as its fail mode says", async () => {
    for (const failMode of ["keep", "closed"] as const) {
      const { time, request, logged } = bench(holds(await offer(1, { sections: sections(1, 20, failMode) })));
      expect(await request()).toMatchObject({ closed: {} });
      await time.pass(10_000);
      expect(await request()).toMatchObject({ closed: {}, age: { sections: { routes: { kind: "stale" } } } });
      expect(logged.some((line) => line.startsWith("warn a section of the snapshot is old"))).toBe(true);
      await time.pass(10_000);
      const expired = await request();
      const text = expect.stringContaining("has expired");
      if (failMode === "keep") {
        expect(expired?.closed).toEqual({ egress: text });
        expect(expired?.tables.closed).toBeUndefined();
      } else {
        expect(expired?.closed).toEqual({ routes: text, egress: text, quota: text });
        expect(expired?.tables.closed).toEqual(text);
      }
    }
  });

  test("a relay that freezes the site cannot make a snapshot younger", async () => {
    const frozen = await offer(1, { sections: sections(1, 20, "closed") });
    const { time, request } = bench(holds(frozen));
    await request();
    await time.pass(25_000);
    expect((await request())?.tables.closed).toBeDefined();
    const late = bench(holds(frozen));
    late.time.nowMs = 60_000;
    expect(await late.request()).toBeUndefined();
    expect(late.isolate.status().refused).toMatchObject({ code: "expired" });
  });
});

describe("a hostile relay", () => {
  const flipped = (bytes: Uint8Array, at = bytes.length >> 1) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

  /** Holds 1.2, then is offered something else; says what was refused and that 1.2 stays. */
  async function refusal(next: Partial<Offer> | (() => Promise<Partial<Offer>>), change: Partial<IsolateOptions> = {}) {
    const { isolate, relay, time, request } = bench(holds(await offer(2)), change);
    await request();
    const bad = { ...(await offer(3)), ...(typeof next === "function" ? await next() : next) };
    relay.play = () => bad;
    await time.pass(SOFT_TTL_MS);
    await request();
    expect((await request())?.version).toBe("1.20");
    return isolate.status().refused?.code;
  }

  test("rollback", async () => expect(await refusal(() => offer(1))).toBe("rollback"));
  test("rollback below the floor, with nothing held", async () => {
    const { request, isolate } = bench(holds(await offer(4)), { floor: { epoch: 1, version: 50 } });
    expect(await request()).toBeUndefined();
    expect(isolate.status().refused?.code).toBe("rollback");
  });
  test("the same version with other content", async () =>
    expect(await refusal(() => offer(2, {}, makeSnapshot(7)))).toBe("equivocation"));
  test("a manifest that was altered", async () =>
    expect(await refusal(async () => ({ manifest: flipped((await offer(3)).manifest, 60) }))).toMatch(/bad_signature|malformed/));
  test("a chunk that was altered", async () =>
    expect(
      await refusal(async () => {
        const { chunks } = await offer(3);
        return { chunks: chunks.map(({ hash, bytes }) => ({ hash, bytes: flipped(bytes) })) };
      }),
    ).toBe("chunk_hash"));
  test("a signature by a key that the root does not know", async () => {
    const stranger = await makeKey();
    const chunks = chunkSnapshot(makeSnapshot(3));
    const manifest = await signManifest(manifestOf(chunks, { version: 30 }), [stranger]);
    expect(await refusal({ manifest })).toBe("unknown_kid");
  });
  test("another pool's snapshot", async () => expect(await refusal(() => offer(3, { aud: "other" }))).toBe("wrong_audience"));
  test("a snapshot for a newer reader", async () =>
    expect(await refusal(() => offer(3, { minReader: 99 }))).toBe("reader_too_old"));
  test("chunks that do not come", async () => expect(await refusal({ chunks: [] })).toBe("chunk_missing"));
  test("a resource that is not what it must be", async () => {
    const snapshot = makeSnapshot(3, { clusters: [{ name: "odd" }] as unknown as Snapshot["clusters"] });
    expect(await refusal(() => offer(3, {}, snapshot))).toBe("invalid_resource");
  });
  test("what does not compile", async () =>
    expect(await refusal(() => offer(3, {}, makeSnapshot(3, { routeTables: [] })))).toBe("not_compiled"));
  test("a rollout that has not begun", async () =>
    expect(await refusal(() => offer(3, { rollout: { salt: "a", percent: 100, notBefore: NOW_S + 600 } }))).toBe("deferred"));

  test("a trust root that nobody pinned, with nothing held", async () => {
    const other = { root: [await makeKey()], online: keys.online };
    const roots = [await signRoot(rootDocument(other), other.root)];
    const { request, isolate } = bench(holds({ ...(await offer(1)), roots }));
    expect(await request()).toBeUndefined();
    expect(isolate.status().refused?.code).toBe("root_pin");
  });
  test("no trust root at all", async () => {
    const { request, isolate } = bench(holds({ ...(await offer(1)), roots: [] }));
    expect(await request()).toBeUndefined();
    expect(isolate.status().refused?.code).toBe("root_pin");
  });
  test("a second root that the first has not signed", async () => {
    const other = { root: [await makeKey()], online: keys.online };
    const forged = await signRoot(rootDocument(other, { version: 2 }), other.root);
    expect(await refusal({ roots: [rootBytes, forged] })).toMatch(/below_threshold|unknown_kid/);
  });
});

describe("what is legitimate", () => {
  test("chunks that the relay did not send along are fetched", async () => {
    const whole = await offer(1);
    const { relay, request } = bench(holds({ ...whole, chunks: whole.chunks.slice(1) }));
    relay.known = whole.chunks;
    expect((await request())?.version).toBe("1.10");
    expect(relay.asked).toContain("chunks 1");
  });

  test("trust roots are followed, and the old keys are worth nothing from then on", async () => {
    const { relay, isolate, time, request } = bench(holds(await offer(1)));
    await request();
    const nextKeys = { root: [rootKey], online: [await makeKey()] };
    const second = await signRoot(rootDocument(nextKeys, { version: 2 }), [rootKey]);
    const chunks = chunkSnapshot(makeSnapshot(2));
    const signed = async (n: number, signer: TestKey): Promise<Offer> => ({
      ...(await offer(n)),
      manifest: await signManifest(manifestOf(chunks, { version: 10 * n }), [signer]),
      chunks: chunks.map(({ ref, bytes }) => ({ hash: ref.hash, bytes })),
      roots: [rootBytes, second],
    });
    relay.play = holds(await signed(2, nextKeys.online[0] as TestKey));
    await time.pass(SOFT_TTL_MS);
    await request();
    expect((await request())?.version).toBe("1.20");
    relay.play = holds(await signed(3, keys.online[0] as TestKey));
    await time.pass(SOFT_TTL_MS);
    await request();
    expect((await request())?.version).toBe("1.20");
    expect(isolate.status().refused?.code).toBe("unknown_kid");
    // Leaving the second root out brings the old keys back no more than anything else.
    relay.play = holds({ ...(await offer(4)), roots: [rootBytes] });
    await time.pass(SOFT_TTL_MS);
    await request();
    expect((await request())?.version).toBe("1.20");
    expect(isolate.status().refused).toMatchObject({ version: "1.40", code: "unknown_kid" });
  });

  test("what was refused is asked for again after JUDGE_AGAIN_MS, not every time", async () => {
    const { relay, time, logged, request } = bench(holds(await offer(2)));
    await request();
    relay.play = holds(await offer(3, { aud: "other" }));
    relay.watched = silent;
    for (let ms = 0; ms < JUDGE_AGAIN_MS - SOFT_TTL_MS; ms += SOFT_TTL_MS) {
      await time.pass(SOFT_TTL_MS);
      await request();
    }
    expect(relay.asked.filter((line) => line === "current 1.20")).toHaveLength(1);
    expect(relay.asked.filter((line) => line === "current 1.30").length).toBeGreaterThan(5);
    await time.pass(2 * SOFT_TTL_MS);
    await request();
    expect(relay.asked.filter((line) => line === "current 1.20")).toHaveLength(2);
    expect(logged.filter((line) => line.includes("wrong_audience"))).toHaveLength(1);
    // To watch is to say that one holds what one names.
    expect(relay.asked.some((line) => line.startsWith("watch 1.30"))).toBe(false);
    relay.play = holds(await offer(4));
    await time.pass(SOFT_TTL_MS);
    await request();
    expect((await request())?.version).toBe("1.40");
  });

  test("a bad first snapshot is told, and a good one then taken", async () => {
    const { isolate, relay, time, request } = bench(holds(await offer(1, { aud: "other" })));
    expect(await request()).toBeUndefined();
    expect(isolate.status()).toMatchObject({ version: undefined, refused: { version: "1.10", code: "wrong_audience" } });
    relay.play = holds(await offer(2));
    await time.pass(1_000);
    expect((await request())?.version).toBe("1.20");
    expect(isolate.status().refused).toBeUndefined();
  });

  test("of two that arrive at once the newer one stays, whichever is through first", async () => {
    const [second, third] = [await offer(2), await offer(3)];
    for (const [byWatch, byQuestion] of [
      [second, third],
      [third, second],
    ] as const) {
      const { isolate, relay, time, request } = bench(holds(await offer(1)));
      let publish: (answer: RelayAnswer) => void = () => undefined;
      relay.watched = () => new Promise((resolve) => (publish = resolve));
      await request();
      await time.pass(SOFT_TTL_MS);
      relay.play = () => byQuestion;
      isolate.inForce(relay, { waitUntil: () => undefined });
      publish(byWatch);
      await settled();
      await settled();
      expect(isolate.status().version).toBe("1.30");
    }
  });
});
