import { beforeAll, describe, expect, test } from "vitest";
import { chunkSnapshot } from "../../../controlplane/snapshot/index.ts";
import {
  bytesByHash,
  contextOf,
  egressConfig,
  egressRule,
  type Keys,
  makeKey,
  makeRoot,
  makeRoute,
  makeSnapshot,
  manifestOf,
  NOW_S,
  rootDocument,
  signManifest,
} from "../../../test/support/snapshots.ts";
import {
  type AcceptContext,
  type AcceptOutcome,
  acceptSnapshot,
  acceptVerified,
  type HeldSnapshot,
  missingChunks,
} from "./accept.ts";
import type { Manifest, Snapshot } from "./manifest.ts";
import type { TrustRoot } from "./trust.ts";
import { type AcceptedState, verifyManifest } from "./verify.ts";

let keys: Keys;
let root: TrustRoot;
beforeAll(async () => {
  keys = { root: [await makeKey()], online: [await makeKey(), await makeKey("ES256")] };
  root = await makeRoot(keys);
});

async function bundle(snapshot: Snapshot, change: Partial<Manifest> = {}, signers = keys.online.slice(0, 1)) {
  const chunks = chunkSnapshot(snapshot);
  const manifest = manifestOf(chunks, change);
  return { chunks, manifest, bytes: bytesByHash(chunks), jws: await signManifest(manifest, signers) };
}

interface InForce {
  readonly held: HeldSnapshot;
  readonly accepted: AcceptedState;
}
function inForce(outcome: AcceptOutcome): InForce {
  if (outcome.kind !== "accepted") throw new Error(JSON.stringify(outcome));
  return { held: outcome.held, accepted: outcome.state };
}
async function start(
  snapshot = makeSnapshot(20),
  context: Partial<AcceptContext> = {},
  signers = keys.online.slice(0, 1),
): Promise<InForce> {
  const made = await bundle(snapshot, {}, signers);
  return inForce(await acceptSnapshot(made.jws, made.bytes, contextOf(root, context)));
}

describe("accepting", () => {
  test("gives the snapshot, and the state to persist", async () => {
    const { held, accepted } = await start();
    expect(held.snapshot.routeTables[0]!.virtualHosts).toHaveLength(2);
    expect(accepted).toMatchObject({ epoch: 1, version: 1, rootVersion: 1, rootHash: root.hash });
    expect(accepted.payloadHash).toMatch(/^[\w-]{43}$/);
  });

  test("fetches only what is new, and keeps the decoded rest as it is", async () => {
    const before = makeSnapshot(400);
    const now = await start(before);
    const [moved, ...others] = before.endpoints;
    const after = { ...before, endpoints: [{ ...moved!, endpoints: [{ address: "10.9.9.9", port: 80, weight: 1 }] }, ...others] };
    const next = await bundle(after, { version: 2, prevHash: now.accepted.payloadHash });
    const wanted = missingChunks(next.manifest, now.held, () => false);
    expect(wanted.map((ref) => ref.kind)).toEqual(["endpoints"]);
    expect(missingChunks(next.manifest, undefined, () => false)).toHaveLength(next.chunks.length);
    expect(missingChunks(next.manifest, now.held, () => true)).toEqual([]);
    const only = new Map(wanted.map((ref) => [ref.hash, next.bytes.get(ref.hash)!]));
    const outcome = inForce(await acceptSnapshot(next.jws, only, contextOf(root, now)));
    expect(outcome.held.snapshot.clusters[0]).toBe(now.held.snapshot.clusters[0]);
    expect(outcome.held.snapshot.endpoints.find((item) => item.cluster === moved!.cluster)!.endpoints[0]!.address).toBe(
      "10.9.9.9",
    );
  });

  test("judges order again once the chunks have come", async () => {
    const older = await bundle(makeSnapshot(20), { version: 2 });
    const verified = await verifyManifest(older.jws, contextOf(root));
    if (!verified.ok) throw new Error(verified.error.detail);
    const newer = await bundle(makeSnapshot(21), { version: 3 });
    const now = inForce(await acceptSnapshot(newer.jws, newer.bytes, contextOf(root)));
    expect(await acceptVerified(verified.value, older.bytes, contextOf(root, now))).toMatchObject({
      kind: "refused",
      refusal: { code: "rollback" },
    });
  });

  test("the same once more is a repetition; after a restart it is restored whatever its age", async () => {
    const made = await bundle(makeSnapshot(20));
    const now = await start();
    expect(await acceptSnapshot(made.jws, made.bytes, contextOf(root, now))).toEqual({ kind: "repeated" });
    const restart = { accepted: now.accepted, held: undefined, nowS: NOW_S + 1e8, purpose: "restore" as const };
    expect((await acceptSnapshot(made.jws, made.bytes, contextOf(root, restart))).kind).toBe("accepted");
  });

  test("a resource that is wrong refuses the snapshot, with its place", async () => {
    const wrong = { ...makeRoute(1), id: "" };
    const made = await bundle(
      makeSnapshot(1, {
        routeTables: [{ name: "t", quotas: [], virtualHosts: [{ name: "h", domains: ["*"], quotas: [], routes: [wrong] }] }],
      }),
    );
    expect(await acceptSnapshot(made.jws, made.bytes, contextOf(root))).toMatchObject({
      kind: "refused",
      refusal: { code: "invalid_resource", issues: [{ path: "routes/t/all[0].virtualHosts[0].routes[0].id" }] },
    });
  });

  test("a held chunk under another size", async () => {
    const now = await start();
    const made = await bundle(makeSnapshot(20), { version: 3 });
    const { routes } = made.manifest.sections;
    const lied = { ...routes, chunks: routes.chunks.map((ref, i) => (i === 0 ? { ...ref, bytes: ref.bytes + 1 } : ref)) };
    const jws = await signManifest({ ...made.manifest, sections: { ...made.manifest.sections, routes: lied } }, [
      keys.online[0]!,
    ]);
    for (const bytes of [made.bytes, new Map<string, Uint8Array>()]) {
      expect(await acceptSnapshot(jws, bytes, contextOf(root, now))).toMatchObject({
        kind: "refused",
        refusal: { code: "chunk_size" },
      });
    }
  });
});

describe("rollout", () => {
  const later = { salt: "s", percent: 0, notBefore: NOW_S + 60 };
  test("has not reached a gateway that has something; one that has nothing takes it", async () => {
    const made = await bundle(makeSnapshot(21), { version: 3, rollout: later });
    const now = await start();
    expect(await acceptSnapshot(made.jws, made.bytes, contextOf(root, now))).toEqual({ kind: "deferred", notBefore: NOW_S + 60 });
    expect((await acceptSnapshot(made.jws, made.bytes, contextOf(root))).kind).toBe("accepted");
    expect((await acceptSnapshot(made.jws, made.bytes, contextOf(root, { ...now, gatewayId: undefined }))).kind).toBe("accepted");
  });
});

describe("widening takes its own threshold", () => {
  const narrow = makeSnapshot(1, { egress: egressConfig([egressRule()]) });
  const wide = makeSnapshot(1, { egress: egressConfig([egressRule({ hosts: ["api.stripe.com", "evil.example"] })]) });
  const strict = async (): Promise<Partial<AcceptContext>> => {
    const { roles } = rootDocument(keys);
    return { root: await makeRoot(keys, { roles: { ...roles, egress: { ...roles.egress, wideningThreshold: 2 } } }) };
  };
  const step = async (from: Snapshot, to: Snapshot, change: Partial<Manifest>, signers = keys.online.slice(0, 1)) => {
    const context = await strict();
    const now = await start(from, context, keys.online.slice());
    const made = await bundle(to, { version: 2, prevHash: now.accepted.payloadHash, ...change }, signers);
    const outcome = await acceptSnapshot(made.jws, made.bytes, contextOf(root, { ...context, ...now }));
    return outcome.kind === "refused" ? outcome.refusal.code : outcome.kind;
  };

  test("called narrowing and provably so: one signature is enough", async () => {
    expect(await step(wide, narrow, { policyClass: "narrowing" })).toBe("accepted");
    expect(await step(narrow, narrow, { policyClass: "narrowing" })).toBe("accepted");
  });
  test("called narrowing, and widening: refused, with however many signatures", async () => {
    expect(await step(narrow, wide, { policyClass: "narrowing" })).toBe("not_narrowing");
    expect(await step(narrow, wide, { policyClass: "narrowing" }, keys.online.slice())).toBe("not_narrowing");
  });
  test("called widening: both signatures or none", async () => {
    expect(await step(narrow, wide, { policyClass: "widening" })).toBe("below_threshold");
    expect(await step(narrow, wide, { policyClass: "widening" }, keys.online.slice())).toBe("accepted");
  });
  test("over a gap, narrowing against what the issuer had and widening against what is held", async () => {
    const gap = { version: 7, prevHash: null, policyClass: "narrowing" as const };
    expect(await step(narrow, wide, gap)).toBe("not_narrowing");
    expect(await step(narrow, wide, gap, keys.online.slice())).toBe("accepted");
  });
  test("a gateway that holds nothing cannot be told that something is narrower", async () => {
    const made = await bundle(narrow, { policyClass: "narrowing" });
    expect(await acceptSnapshot(made.jws, made.bytes, contextOf(root, await strict()))).toMatchObject({
      refusal: { code: "not_narrowing" },
    });
    const nothing = await bundle(makeSnapshot(1), { policyClass: "narrowing" });
    expect((await acceptSnapshot(nothing.jws, nothing.bytes, contextOf(root, await strict()))).kind).toBe("accepted");
  });
});
