import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { acceptSnapshot, decodeSnapshotFile, MAX_SNAPSHOT_FILE_BYTES, type Snapshot } from "../../gateway/core/ir/index.ts";
import { contextOf, egressConfig, egressRule, makeSnapshot, NOW_S } from "../../test/support/snapshots.ts";
import { type Published, type PublishOutcome, SnapshotPublisher } from "./build.ts";
import { diffSnapshots } from "./diff.ts";
import { encodeSnapshotFile, readSnapshotFile, writeSnapshotFile } from "./file.ts";
import { SnapshotHistory } from "./history.ts";
import { DEFAULT_KEY_PLAN, initKeys, type KeyPlan, type KeyRing, rotateKeys } from "./keys.ts";
import { nextVersion, renewAtS } from "./version.ts";

let directory: string;
let keys: KeyRing;
let clock: { ms: number; unixMs(): number };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tidegate-history-"));
  keys = await ring();
  clock = {
    ms: NOW_S * 1_000,
    unixMs() {
      return this.ms;
    },
  };
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function ring(change: Partial<KeyPlan> = {}): Promise<KeyRing> {
  await rm(join(directory, "keys"), { recursive: true, force: true });
  const made = await initKeys(join(directory, "keys"), { ...DEFAULT_KEY_PLAN, iss: "mesh.test", ...change }, NOW_S);
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}
const publisher = async (keep?: number) =>
  new SnapshotPublisher({ history: await SnapshotHistory.open(join(directory, "history"), keep), keys, clock });
function published(outcome: PublishOutcome): Published {
  if (outcome.kind === "refused") throw new Error(JSON.stringify(outcome.issues));
  return outcome.published;
}
const files = (name: string) => readdir(join(directory, "history", name));
const small = (routes = 3, change: Partial<Snapshot> = {}) => makeSnapshot(routes, change);

describe("publishing", () => {
  test("gives out version 1, then the same again without a new version, then version 2 in its chain", async () => {
    const to = await publisher();
    const first = published(await to.publish("edge", small()));
    expect(first).toMatchObject({
      id: "1.1",
      manifest: { prevHash: null, aud: "edge", iss: "mesh.test", policyClass: "narrowing" },
    });
    expect(await to.publish("edge", structuredClone(small()))).toMatchObject({ kind: "unchanged", published: { id: "1.1" } });
    const second = published(await to.publish("edge", small(4)));
    expect(second.id).toBe("1.2");
    expect(second.manifest.prevHash).toMatch(/^[\w-]{43}$/);
    const reader = await acceptSnapshot(first.jws, first.chunks, contextOf(keys.root));
    if (reader.kind !== "accepted") throw new Error(JSON.stringify(reader));
    const now = { held: reader.held, accepted: reader.state };
    expect((await acceptSnapshot(second.jws, second.chunks, contextOf(keys.root, now))).kind).toBe("accepted");
  });

  test("pools have versions of their own, and names that can be no path", async () => {
    const to = await publisher();
    await to.publish("a", small());
    expect(published(await to.publish("b", small())).id).toBe("1.1");
    for (const pool of ["", "../up", "A", "a/b"]) expect(await to.publish(pool, small())).toMatchObject({ kind: "refused" });
  });

  test("at the same time: every version once", async () => {
    const to = await publisher();
    const outcomes = await Promise.all(Array.from({ length: 8 }, (_, i) => to.publish("edge", small(i + 1))));
    expect(outcomes.map((outcome) => published(outcome).id)).toEqual(Array.from({ length: 8 }, (_, i) => `1.${i + 1}`));
  });

  test("says whether egress widens", async () => {
    const to = await publisher();
    const narrow = small(3, { egress: egressConfig([egressRule()]) });
    const wide = small(3, { egress: egressConfig([egressRule({ ports: [443, 8443] })]) });
    expect(await to.publish("edge", wide)).toMatchObject({ policyClass: "widening" });
    expect(await to.publish("edge", narrow)).toMatchObject({ policyClass: "narrowing" });
    expect(await to.publish("edge", wide)).toMatchObject({ policyClass: "widening" });
  });

  test("a delay begins with each change, is not begun again by the same content, and does not hold up what narrows egress", async () => {
    const to = await publisher();
    const later = { afterS: 600 };
    const notBefore = async (snapshot: Snapshot, rollout = later) =>
      published(await to.publish("edge", snapshot, rollout)).manifest.rollout.notBefore;
    const wide = egressConfig([egressRule({ ports: [443, 8443] })]);
    expect(await notBefore(small(3, { egress: wide }))).toBe(NOW_S + 600);
    clock.ms += 60_000;
    expect(await to.publish("edge", small(3, { egress: wide }), later)).toMatchObject({ kind: "unchanged" });
    expect(await notBefore(small(4, { egress: wide }))).toBe(NOW_S + 660);
    expect(await notBefore(small(4, { egress: egressConfig([egressRule()]) }))).toBe(0);
    expect(await notBefore(small(5, { egress: egressConfig([egressRule()]) }))).toBe(NOW_S + 660);
    // The delay is over for what waits, too.
    expect(await notBefore(small(5, { egress: egressConfig([egressRule()]) }), { afterS: 0 })).toBe(0);
  });

  test("a widening without enough signatures, or without any key, is refused and takes no version", async () => {
    keys = await ring({ onlineKeys: 2, wideningThreshold: 2 });
    keys = { ...keys, signers: keys.signers.slice(0, 1) };
    const to = await publisher();
    const wide = small(3, { egress: egressConfig() });
    expect(await to.publish("edge", wide)).toMatchObject({
      kind: "refused",
      issues: [{ problem: expect.stringContaining("egress (widening) asks for 2") }],
    });
    expect(published(await to.publish("edge", small())).id).toBe("1.1");
    to.useKeys({ ...keys, signers: [] });
    expect(await to.publish("edge", wide)).toMatchObject({ kind: "refused", issues: [{ path: "keys" }] });
  });

  test("what a reader would refuse is never given out", async () => {
    const to = await publisher();
    const broken = small(1, { clusters: [{ ...small().clusters[0]!, port: 0 }] });
    expect(await to.publish("edge", broken)).toMatchObject({
      kind: "refused",
      issues: [{ path: "snapshot" }, { path: "clusters/all[0].port" }],
    });
    expect((await to.current("edge")).published).toBeUndefined();
  });
});

describe("time and keys", () => {
  test("renewed when half of the shortest soft age is over", async () => {
    const to = await publisher();
    const first = published(await to.publish("edge", small()));
    clock.ms = (renewAtS(first.manifest) - 1) * 1_000;
    expect((await to.renew("edge")).kind).toBe("unchanged");
    clock.ms = renewAtS(first.manifest) * 1_000;
    const second = published(await to.renew("edge"));
    expect(second.id).toBe("1.2");
    expect(second.manifest.sections.routes.softExp).toBeGreaterThan(first.manifest.sections.routes.softExp);
    expect([...second.chunks.keys()]).toEqual([...first.chunks.keys()]);
    expect(await to.renew("other")).toMatchObject({ kind: "refused" });
  });

  test("signed anew after a rotation, other ages or another rollout", async () => {
    const to = await publisher();
    await to.publish("edge", small());
    const next = await rotateKeys(join(directory, "keys"), {
      replace: "online",
      nowS: NOW_S,
      validityS: 86_400,
      raiseEpoch: false,
    });
    if (!next.ok) throw new Error(JSON.stringify(next.error));
    to.useKeys(next.value);
    const second = published(await to.publish("edge", small()));
    expect(second.id).toBe("1.2");
    expect((await acceptSnapshot(second.jws, second.chunks, contextOf(next.value.root))).kind).toBe("accepted");
    const ages = { softS: 10, hardS: 20, failMode: "keep" } as const;
    to.useAges({ routes: ages, egress: ages, quota: ages });
    expect(published(await to.publish("edge", small())).manifest).toMatchObject({
      version: 3,
      sections: { quota: { exp: NOW_S + 20 } },
    });
    const rollout = { salt: "s", percent: 10, notBefore: NOW_S };
    expect(published(await to.publish("edge", small(), rollout)).manifest).toMatchObject({ version: 4, rollout });
  });

  test("a raised epoch starts versions anew", async () => {
    const to = await publisher();
    await to.publish("edge", small());
    const next = await rotateKeys(join(directory, "keys"), { replace: "none", nowS: NOW_S, validityS: 86_400, raiseEpoch: true });
    if (!next.ok) throw new Error(JSON.stringify(next.error));
    to.useKeys(next.value);
    expect(published(await to.publish("edge", small())).id).toBe("2.1");
  });
});

describe("history", () => {
  test("a new process goes on where the last one was", async () => {
    const first = published(await (await publisher()).publish("edge", small()));
    const again = await publisher();
    expect((await again.current("edge")).published).toMatchObject({ id: "1.1" });
    expect((await again.publish("edge", small())).kind).toBe("unchanged");
    const second = published(await again.publish("edge", small(4)));
    expect(second.id).toBe("1.2");
    const accepted = await acceptSnapshot(first.jws, first.chunks, contextOf(keys.root));
    if (accepted.kind !== "accepted") throw new Error(JSON.stringify(accepted));
    expect(second.manifest.prevHash).toBe(accepted.state.payloadHash);
  });

  test("rollback gives old content out under a new version, signed anew", async () => {
    const to = await publisher();
    const first = published(await to.publish("edge", small(3)));
    await to.publish("edge", small(4));
    const third = published(await to.rollback("edge", { epoch: 1, version: 1 }));
    expect(third.id).toBe("1.3");
    expect(diffSnapshots(first.snapshot, third.snapshot)).toEqual([]);
    expect(await to.rollback("edge", { epoch: 1, version: 9 })).toMatchObject({
      kind: "refused",
      issues: [{ problem: expect.stringContaining("no snapshot 1.9") }],
    });
  });

  test("keeps the last ones, and lets go of chunks that nobody names", async () => {
    const to = await publisher(3);
    for (let i = 1; i <= 6; i++) await to.publish("edge", small(i));
    // Letting go is a turn of its own after the last publication.
    await to.current("edge");
    expect((await files("pools/edge")).sort()).toEqual(["1.4.json", "1.5.json", "1.6.json"]);
    const history = await SnapshotHistory.open(join(directory, "history"), 3);
    const { manifests } = await history.list("edge");
    const named = new Set<string>();
    for (const { manifest } of manifests) {
      const chunks = await history.chunks(manifest);
      if (!chunks.ok) throw new Error(JSON.stringify(chunks.error));
      for (const hash of chunks.value.keys()) named.add(`${hash}.json`);
    }
    expect((await files("chunks")).sort()).toEqual([...named].sort());
  });

  test("what a crash left half written is cleared, and counts for nothing", async () => {
    await (await publisher()).publish("edge", small());
    await writeFile(join(directory, "history/pools/edge/.partial-0011"), "{");
    await writeFile(join(directory, "history/chunks/.partial-0011"), "[");
    await publisher();
    expect(await files("pools/edge")).toEqual(["1.1.json"]);
    expect((await files("chunks")).some((name) => name.startsWith("."))).toBe(false);
  });

  test("a damaged manifest: the last good one holds, its number is never given out again, nor its direct successor's", async () => {
    const to = await publisher();
    await to.publish("edge", small(1));
    await to.publish("edge", small(2));
    await writeFile(join(directory, "history/pools/edge/1.2.json"), "{");
    const again = await publisher();
    expect(await again.current("edge")).toMatchObject({
      published: { id: "1.1" },
      problems: [{ problem: expect.stringContaining("damaged") }],
    });
    expect(published(await again.publish("edge", small(3))).id).toBe("1.4");
  });

  test("a tampered manifest or chunk is never signed again", async () => {
    const to = await publisher();
    await to.publish("edge", small(1));
    await to.publish("edge", small(2));
    const path = join(directory, "history/pools/edge/1.1.json");
    const jws = JSON.parse(await readFile(path, "utf8")) as { payload: string };
    const payload = JSON.parse(Buffer.from(jws.payload, "base64url").toString()) as object;
    await writeFile(
      path,
      JSON.stringify({ ...jws, payload: Buffer.from(JSON.stringify({ ...payload, iat: 5 })).toString("base64url") }),
    );
    expect(await to.rollback("edge", { epoch: 1, version: 1 })).toMatchObject({
      kind: "refused",
      issues: [{ problem: expect.stringContaining("does not fit") }],
    });
    for (const name of await files("chunks")) await writeFile(join(directory, "history/chunks", name), "[]");
    expect(await to.rollback("edge", { epoch: 1, version: 2 })).toMatchObject({ kind: "refused" });
  });

  test("a damaged chunk is written again when it is published again", async () => {
    await (await publisher()).publish("edge", small(1));
    const damaged = (await files("chunks")).map((name) => join(directory, "history/chunks", name));
    for (const file of damaged) await writeFile(file, "[]");
    const again = await publisher();
    expect((await again.current("edge")).published).toBeUndefined();
    expect(published(await again.publish("edge", small(1))).id).toBe("1.3");
    for (const file of damaged) expect(await readFile(file, "utf8")).not.toBe("[]");
  });

  test("chunk names that are no hash are not looked for", async () => {
    const history = await SnapshotHistory.open(join(directory, "history"));
    expect(await history.chunk("../../keys/online/x")).toBeUndefined();
  });

  test("numbers", () => {
    const last = { epoch: 1, version: 4, payloadHash: "h" };
    expect(nextVersion(1, undefined, undefined)).toEqual({ version: 1, prevHash: null });
    expect(nextVersion(1, last, { epoch: 1, version: 4 })).toEqual({ version: 5, prevHash: "h" });
    expect(nextVersion(1, last, { epoch: 1, version: 6 })).toEqual({ version: 8, prevHash: "h" });
    expect(nextVersion(2, last, { epoch: 1, version: 4 })).toEqual({ version: 1, prevHash: "h" });
  });
});

describe("snapshot files", () => {
  const path = "shop.snapshot.json";
  const made = async () => published(await (await publisher()).publish("edge", small(12, { egress: egressConfig() })));

  test("come back as written", async () => {
    const one = await made();
    const file = join(directory, path);
    await writeSnapshotFile(file, one);
    const read = await readSnapshotFile(file);
    if (!read.ok) throw new Error(JSON.stringify(read.error));
    expect(read.value.manifest).toEqual(one.manifest);
    expect(diffSnapshots(read.value.snapshot, one.snapshot)).toEqual([]);
    expect((await acceptSnapshot(read.value.jws, read.value.chunks, contextOf(keys.root))).kind).toBe("accepted");
  });

  test("are refused with a reason: absent, other format, missing or changed chunk, too long", async () => {
    const text = new TextDecoder().decode(encodeSnapshotFile(await made()));
    const problem = async (edited: string) => {
      const read = await decodeSnapshotFile(new TextEncoder().encode(edited), path);
      return read.ok ? "" : read.error.map((issue) => issue.problem).join("; ");
    };
    const file = JSON.parse(text) as { chunks: Record<string, string> };
    const [hash] = Object.keys(file.chunks);
    expect(await problem("[]")).toMatch(/no snapshot file/);
    expect(await problem(text.replace("tidegate-snapshot/1", "tidegate-snapshot/9"))).toMatch(/no snapshot file/);
    expect(await problem(JSON.stringify({ ...file, manifest: {} }))).toMatch(/no JWS/);
    expect(await problem(JSON.stringify({ ...file, chunks: {} }))).toMatch(/chunk .* is missing/);
    expect(await problem(JSON.stringify({ ...file, chunks: { ...file.chunks, [hash!]: `${file.chunks[hash!]} ` } }))).toMatch(
      /manifest says/,
    );
    expect(await readSnapshotFile(join(directory, "absent"))).toMatchObject({
      ok: false,
      error: [{ problem: expect.stringContaining("cannot be read") }],
    });
    const long = { byteLength: MAX_SNAPSHOT_FILE_BYTES + 1 } as Uint8Array;
    expect(await decodeSnapshotFile(long, path)).toMatchObject({
      ok: false,
      error: [{ problem: expect.stringContaining("longer than") }],
    });
  });

  test("differences are told by resource", () => {
    const before = small(12, { egress: egressConfig() });
    const [table] = before.routeTables;
    const [host, ...hosts] = table!.virtualHosts;
    const after: Snapshot = {
      ...before,
      egress: undefined,
      clusters: before.clusters.slice(1),
      routeTables: [
        {
          ...table!,
          virtualHosts: [
            { ...host!, routes: host!.routes.map((route, i) => (i === 0 ? { ...route, quotas: ["q/q"] } : route)) },
            ...hosts,
          ],
        },
      ],
    };
    expect(diffSnapshots(before, after)).toEqual([
      { change: "removed", kind: "cluster", name: before.clusters[0]!.name },
      { change: "removed", kind: "egress", name: "egress" },
      { change: "removed", kind: "egressPolicy", name: "shop/payments" },
      { change: "changed", kind: "route", name: "http.80/host-0.example.com/shop/shop/route-0" },
    ]);
    expect(diffSnapshots(before, structuredClone(before))).toEqual([]);
  });
});
