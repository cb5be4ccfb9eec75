import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Chunk, chunkSnapshot } from "../../controlplane/snapshot/index.ts";
import { CHUNK_FORGERIES, FORGERIES, keys, stranger } from "../../test/support/forgeries.ts";
import { MemoryRelayStorage } from "../../test/support/relay-storage.ts";
import {
  egressConfig,
  makeSnapshot,
  manifestOf,
  NOW_S,
  pinOf,
  rootDocument,
  signManifest,
  signRoot,
} from "../../test/support/snapshots.ts";
import type { Manifest, RootDocument } from "../core/ir/index.ts";
import { MAX_AWAITED_BYTES, type OfferAnswer, Relay, type RelayOptions } from "./relay.ts";

const PIN = await pinOf(rootDocument(keys));
const ROOT = await signRoot(rootDocument(keys), keys.root);

interface Published {
  readonly jws: Uint8Array;
  readonly chunks: readonly Chunk[];
  readonly manifest: Manifest;
}

/** Versions ten apart: a gap needs no predecessor's hash. */
async function published(
  version: number,
  routes = version,
  change: Partial<Manifest> = {},
  by = keys.online.slice(0, 1),
): Promise<Published> {
  const chunks = chunkSnapshot(makeSnapshot(routes));
  const manifest = manifestOf(chunks, { version: version * 10, ...change });
  return { jws: await signManifest(manifest, by), chunks, manifest };
}

class Site {
  readonly storage = new MemoryRelayStorage();
  nowS = NOW_S;
  readonly #change: Partial<RelayOptions>;
  relay: Relay;

  constructor(change: Partial<RelayOptions> = {}) {
    this.#change = change;
    this.relay = this.#start();
  }

  #start(): Relay {
    return new Relay({
      site: "europe",
      audience: "edge",
      pin: PIN,
      floor: undefined,
      storage: this.storage,
      unixMs: () => this.nowS * 1000,
      software: "test",
      trial: () => [],
      ...this.#change,
    });
  }

  /** Everything but the storage is gone. */
  restart(): void {
    this.relay = this.#start();
  }

  static async trusting(change: Partial<RelayOptions> = {}): Promise<Site> {
    const site = new Site(change);
    await site.relay.follow(ROOT);
    return site;
  }

  /** A whole push: hands over what is asked for until there is another answer. */
  async push({ jws, chunks }: Published): Promise<OfferAnswer & { readonly sent: readonly string[] }> {
    const sent: string[] = [];
    let answer: OfferAnswer | undefined = await this.relay.offered(jws);
    for (let rounds = 0; answer?.type === "need" && rounds < 100; rounds++) {
      const { hashes } = answer as Extract<OfferAnswer, { type: "need" }>;
      answer = undefined;
      for (const hash of hashes) {
        sent.push(hash);
        answer = await this.relay.chunk(hash, bytesOf(chunks, hash));
      }
    }
    if (answer === undefined) throw new Error("the relay went silent");
    return { ...answer, sent };
  }

  get held(): string | undefined {
    const accepted = this.storage.current()?.accepted;
    return accepted && `${accepted.epoch}.${accepted.version}`;
  }
}

function bytesOf(chunks: readonly Chunk[], hash: string): Uint8Array {
  const chunk = chunks.find(({ ref }) => ref.hash === hash);
  if (chunk === undefined) throw new Error(`${hash} was never published`);
  return chunk.bytes;
}

const hashesOf = ({ chunks }: Published): readonly string[] => [...new Set(chunks.map(({ ref }) => ref.hash))];
const needed = (answer: OfferAnswer | undefined): readonly string[] => (answer?.type === "need" ? answer.hashes : []);

describe("a push", () => {
  test("is asked for, verified, kept, and acknowledged", async () => {
    const site = await Site.trusting();
    const first = await published(1);
    const answer = await site.push(first);
    expect(answer).toMatchObject({ type: "ack", snapshot: { epoch: 1, version: 10 } });
    expect(answer.sent).toEqual(hashesOf(first));
    expect([...site.storage.chunks.keys()].sort()).toEqual([...hashesOf(first)].sort());
    expect(site.storage.current()).toMatchObject({ manifest: first.jws, sinceMs: NOW_S * 1000, enforced: false });
    expect(site.relay.hello()).toMatchObject({ held: { epoch: 1, version: 10 }, rootVersion: 1, pin: PIN, enforced: false });
  });

  test("the next one brings only what is new; what two snapshots back was named alone is let go", async () => {
    const site = await Site.trusting();
    const all = [await published(1), await published(2, 12), await published(3, 30)];
    for (const one of all) await site.push(one);
    expect(site.held).toBe("1.30");
    const [, second, third] = all as [Published, Published, Published];
    expect([...site.storage.chunks.keys()].sort()).toEqual([...new Set([...hashesOf(second), ...hashesOf(third)])].sort());
    const fourth = await published(4, 30);
    expect((await site.push(fourth)).sent).toEqual([]);
    expect(site.held).toBe("1.40");
  });

  test("the accepted one again is acknowledged and moves nothing", async () => {
    const site = await Site.trusting();
    await site.push(await published(1));
    const second = await published(2);
    await site.push(second);
    const before = site.storage.snapshots.previous;
    expect(await site.push(second)).toMatchObject({ type: "ack", sent: [] });
    site.restart();
    expect(await site.push(second)).toMatchObject({ type: "ack", sent: [] });
    expect(site.storage.snapshots.previous).toBe(before);
  });

  test("no more than MAX_AWAITED_BYTES are asked for at a time, a larger chunk alone", async () => {
    const site = await Site.trusting();
    const chunks = chunkSnapshot(makeSnapshot(1));
    const padded = await Promise.all(
      [3, 3, 5, 1].map(async (megabytes, i): Promise<Chunk> => {
        const bytes = new TextEncoder().encode(`{"items":[0],"shared":[${" ".repeat(megabytes * 1_048_576)}]}`);
        const hash = Buffer.from(await crypto.subtle.digest("SHA-256", bytes)).toString("base64url");
        return { ref: { kind: "endpoints", name: `padded-${i}`, hash, bytes: bytes.byteLength }, bytes };
      }),
    );
    const all = [...padded, ...chunks];
    const manifest = manifestOf(all, { version: 10 });
    const jws = await signManifest(manifest, keys.online.slice(0, 1));
    const sizes: number[] = [];
    let answer: OfferAnswer | undefined = await site.relay.offered(jws);
    while (answer?.type === "need") {
      const { hashes } = answer as Extract<OfferAnswer, { type: "need" }>;
      sizes.push(hashes.reduce((sum, hash) => sum + bytesOf(all, hash).byteLength, 0));
      for (const hash of hashes) answer = await site.relay.chunk(hash, bytesOf(all, hash));
    }
    expect(answer).toMatchObject({ type: "ack" });
    expect(sizes.length).toBeGreaterThan(2);
    expect(sizes.filter((size) => size > MAX_AWAITED_BYTES)).toHaveLength(1);
  });
});

describe("what is refused leaves what is held", () => {
  const offered = FORGERIES.filter(({ reader }) => reader?.purpose === undefined);

  test.each(offered)("$name: $code", async ({ code, jws, reader = {} }) => {
    const document = rootDocument(keys, reader.root);
    const site = new Site({
      pin: await pinOf(document),
      ...(reader.limits && { limits: reader.limits }),
      ...(reader.floor && { floor: reader.floor }),
    });
    await site.relay.follow(await signRoot(document, keys.root));
    const { accepted } = reader;
    const before = accepted && { manifest: new Uint8Array(), chunks: [], accepted, sinceMs: 1, enforced: true };
    site.storage.snapshots.current = before;
    expect(await site.relay.offered(await jws())).toMatchObject({ type: "nack", code, partly: false });
    expect(site.storage.current()).toBe(before);
    expect(site.storage.offer()).toBeUndefined();
  });

  test.each(CHUNK_FORGERIES.filter(({ name }) => name !== "missing"))("a chunk $name: $code", async ({ code, edit }) => {
    const site = await Site.trusting();
    await site.push(await published(1));
    const next = await published(2, 15);
    const [hash = ""] = needed(await site.relay.offered(next.jws));
    const answer = await site.relay.chunk(hash, edit(bytesOf(next.chunks, hash)) ?? new Uint8Array());
    expect(answer).toMatchObject({ type: "nack", code, snapshot: { epoch: 1, version: 20 } });
    expect(site.held).toBe("1.10");
    expect(await site.push(next)).toMatchObject({ type: "ack" });
  });

  test("a change that may let more out, signed by too few", async () => {
    const roles = {
      ...rootDocument(keys).roles,
      egress: { kids: keys.online.map(({ kid }) => kid), threshold: 1, wideningThreshold: 2 },
    };
    const document = rootDocument(keys, { roles });
    const site = new Site({ pin: await pinOf(document) });
    await site.relay.follow(await signRoot(document, keys.root));
    await site.push(await published(1, 1, {}, keys.online.slice(0, 2)));
    const chunks = chunkSnapshot(makeSnapshot(1, { egress: egressConfig() }));
    const manifest = manifestOf(chunks, { version: 20, policyClass: "narrowing" });
    const wider = { chunks, manifest, jws: await signManifest(manifest, keys.online.slice(0, 1)) };
    expect(await site.push(wider)).toMatchObject({ type: "nack", code: "not_narrowing" });
    site.restart();
    expect(await site.push(wider)).toMatchObject({ type: "nack", code: "not_narrowing" });
    expect(site.held).toBe("1.10");
  });

  test("what no isolate could compile, with every problem by name", async () => {
    const site = await Site.trusting({ trial: () => [{ name: "routeTables[0]", reason: "a bad regex" }] });
    const answer = await site.push(await published(1));
    expect(answer).toMatchObject({
      type: "nack",
      code: "not_compiled",
      problems: [{ name: "routeTables[0]", reason: "a bad regex" }],
    });
    expect(site.held).toBeUndefined();
    expect(site.storage.chunks.size).toBe(0);
  });

  test("expired in the meantime: what was good when it was offered is not taken later", async () => {
    const site = await Site.trusting();
    const late = await published(1);
    const [hash = ""] = needed(await site.relay.offered(late.jws));
    site.nowS += 400 * 86_400;
    site.restart();
    expect(await site.relay.chunk(hash, bytesOf(late.chunks, hash))).toMatchObject({ type: "nack", code: "root_expired" });
    expect(site.storage.offer()).toBeUndefined();
  });
});

describe("trust roots", () => {
  const second = async (change: Partial<RootDocument> = {}) => rootDocument(keys, { version: 2, ...change });

  test("another mesh's root is refused, and the manifest's refusal says so", async () => {
    const site = new Site();
    await site.relay.follow(await signRoot(rootDocument(keys, { expires: 1 }), keys.root));
    expect(await site.relay.offered((await published(1)).jws)).toMatchObject({ type: "nack", code: "root_pin" });
    expect(site.relay.hello().rootVersion).toBe(0);
  });

  test("no root at all", async () => {
    expect(await new Site().relay.offered((await published(1)).jws)).toMatchObject({ type: "nack", code: "root_pin" });
  });

  test("the next one is followed, and once more is nothing new", async () => {
    const site = await Site.trusting();
    const next = await signRoot(await second(), keys.root);
    await site.relay.follow(next);
    await site.relay.follow(next);
    site.restart();
    await site.relay.follow(ROOT);
    expect(site.relay.hello().rootVersion).toBe(2);
    expect(await site.push(await published(1))).toMatchObject({ type: "ack" });
  });

  test("a next one that too few have signed: its manifests are refused for that", async () => {
    const site = await Site.trusting();
    await site.relay.follow(await signRoot(await second(), [stranger]));
    const answer = await site.relay.offered((await published(1, 1, {}, [stranger])).jws);
    expect(answer).toMatchObject({ type: "nack", code: "unknown_kid" });
    await site.relay.follow(await signRoot(await second({ version: 3 }), keys.root));
    const skipped = await site.relay.offered((await published(1, 1, {}, [stranger])).jws);
    expect(skipped).toMatchObject({ type: "nack", code: "root_version" });
    // A good manifest under the root in force is good all the same.
    expect(await site.push(await published(2))).toMatchObject({ type: "ack" });
  });
});

describe("a relay that ends in the middle", () => {
  test("after each chunk of an offer goes on with what is on its way", async () => {
    const site = await Site.trusting();
    await site.push(await published(1));
    const next = await published(2, 25);
    const asked = needed(await site.relay.offered(next.jws));
    expect(asked.length).toBeGreaterThan(2);
    let answer: OfferAnswer | undefined;
    for (const hash of asked) {
      site.restart();
      answer = await site.relay.chunk(hash, bytesOf(next.chunks, hash));
    }
    expect(answer).toMatchObject({ type: "ack", snapshot: { version: 20 } });
    expect(site.held).toBe("1.20");
  });

  test("is offered the same again and asks only for the rest", async () => {
    const site = await Site.trusting();
    const next = await published(2, 25);
    const [first = "", ...rest] = needed(await site.relay.offered(next.jws));
    await site.relay.chunk(first, bytesOf(next.chunks, first));
    site.restart();
    expect(needed(await site.relay.offered(next.jws))).toEqual(rest);
  });

  test("judges the next change by what it held before", async () => {
    const site = await Site.trusting();
    await site.push(await published(2));
    site.restart();
    expect(await site.relay.offered((await published(1)).jws)).toMatchObject({ type: "nack", code: "rollback" });
  });

  test("a chunk that was lost from storage is asked for again", async () => {
    const site = await Site.trusting();
    const first = await published(1);
    await site.push(first);
    const [lost = ""] = hashesOf(first);
    site.storage.chunks.delete(lost);
    site.restart();
    expect(await site.push(first)).toMatchObject({ type: "ack", sent: [lost] });
  });
});

describe("chunks that nobody asked for", () => {
  test("are not kept", async () => {
    const site = await Site.trusting();
    const other = await published(2, 30);
    const [hash = ""] = hashesOf(other);
    expect(await site.relay.chunk(hash, bytesOf(other.chunks, hash))).toBeUndefined();
    const one = await published(1);
    await site.relay.offered(one.jws);
    const foreign = hashesOf(other).find((candidate) => !hashesOf(one).includes(candidate)) ?? "";
    expect(await site.relay.chunk(foreign, bytesOf(other.chunks, foreign))).toBeUndefined();
    expect(site.storage.chunks.has(foreign)).toBe(false);
  });

  test("of an offer that a newer one replaced are let go", async () => {
    const site = await Site.trusting();
    const older = await published(1, 3);
    const newer = await published(2, 40);
    const [first = "", second = ""] = needed(await site.relay.offered(older.jws));
    await site.relay.chunk(first, bytesOf(older.chunks, first));
    await site.relay.offered(newer.jws);
    expect(site.storage.chunks.has(first)).toBe(hashesOf(newer).includes(first));
    if (!hashesOf(newer).includes(second)) expect(await site.relay.chunk(second, bytesOf(older.chunks, second))).toBeUndefined();
    expect(await site.push(newer)).toMatchObject({ type: "ack", snapshot: { version: 20 } });
  });
});

describe("rollouts", () => {
  const later = { salt: "s", percent: 100, notBefore: NOW_S + 60 };

  test("a first snapshot is taken whatever its rollout says", async () => {
    const site = await Site.trusting();
    expect(await site.push(await published(1, 1, { rollout: later }))).toMatchObject({ type: "ack" });
  });

  test("wait for their time, over a restart, and are taken when it has come", async () => {
    const site = await Site.trusting();
    await site.push(await published(1));
    const staged = await published(2, 12, { rollout: later });
    expect(await site.push(staged)).toMatchObject({ type: "deferred", notBeforeS: NOW_S + 60 });
    expect(site.storage.offer()).toMatchObject({ notBeforeS: NOW_S + 60 });
    expect(site.held).toBe("1.10");
    site.nowS += 59;
    expect(await site.relay.due()).toBeUndefined();
    site.nowS += 1;
    site.restart();
    expect(await site.relay.due()).toMatchObject({ type: "ack", snapshot: { version: 20 } });
    expect(site.held).toBe("1.20");
    expect(await site.relay.due()).toBeUndefined();
  });

  test("that never reach this site wait for a manifest of their own", async () => {
    const site = await Site.trusting();
    await site.push(await published(1));
    const nobody = await published(2, 12, { rollout: { salt: "s", percent: 0, notBefore: 0 } });
    expect(await site.push(nobody)).toMatchObject({ type: "deferred", notBeforeS: 0 });
    expect(site.storage.offer()?.notBeforeS).toBeUndefined();
    const everybody = await published(3, 12);
    expect(await site.push(everybody)).toMatchObject({ type: "ack", sent: [] });
  });

  test("are replaced by what comes after", async () => {
    const site = await Site.trusting();
    await site.push(await published(1));
    await site.push(await published(2, 12, { rollout: later }));
    await site.push(await published(3, 13));
    site.nowS += 120;
    expect(await site.relay.due()).toBeUndefined();
    expect(site.held).toBe("1.30");
  });
});

test("whatever comes in whatever order, versions only rise and what is held is whole", async () => {
  const all = await Promise.all([1, 2, 3, 4].map((version) => published(version, version * 7)));
  const chunks = all.flatMap((one) => one.chunks);
  const step = fc.oneof(
    fc.record({ kind: fc.constant("offer" as const), which: fc.nat(3) }),
    fc.record({ kind: fc.constant("chunk" as const), which: fc.nat(chunks.length - 1) }),
    fc.record({ kind: fc.constant("answer" as const), which: fc.nat(50) }),
    fc.record({ kind: fc.constant("restart" as const), which: fc.nat(0) }),
    fc.record({ kind: fc.constant("garbage" as const), which: fc.nat(255) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const site = await Site.trusting();
      let asked: readonly string[] = [];
      let highest = 0;
      for (const { kind, which } of steps) {
        if (kind === "offer") asked = needed(await site.relay.offered((all[which] as Published).jws));
        if (kind === "chunk") await site.relay.chunk((chunks[which] as Chunk).ref.hash, (chunks[which] as Chunk).bytes);
        if (kind === "answer") {
          for (const hash of asked.slice(0, which)) asked = needed(await site.relay.chunk(hash, bytesOf(chunks, hash)));
        }
        if (kind === "restart") site.restart();
        if (kind === "garbage") await site.relay.offered(new Uint8Array([which]));
        const current = site.storage.current();
        const version = current?.accepted.version ?? 0;
        expect(version).toBeGreaterThanOrEqual(highest);
        highest = version;
        for (const hash of current?.chunks ?? []) expect(site.storage.chunk(hash)).toEqual(bytesOf(chunks, hash));
      }
    }),
    { seed: 11, numRuns: 60 },
  );
});
