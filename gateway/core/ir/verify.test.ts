import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkSnapshot } from "../../../controlplane/snapshot/index.ts";
import {
  CHUNK_FORGERIES,
  chunks,
  editedChunks,
  FORGERIES,
  first,
  good,
  held,
  keys,
  open,
  root,
  routes,
  signed,
  stranger,
} from "../../../test/support/forgeries.ts";
import { bytesByHash, contextOf, makeRoot, makeSnapshot, NOW_S, rootDocument, utf8 } from "../../../test/support/snapshots.ts";
import { acceptSnapshot } from "./accept.ts";
import { DEFAULT_SNAPSHOT_LIMITS, peekManifest, verifyManifest } from "./verify.ts";

describe("refused manifests", () => {
  test.each(FORGERIES)("$name: $code", async ({ code, jws, reader }) => {
    const { root: change, ...context } = reader ?? {};
    const trusted = change === undefined ? root : await makeRoot(keys, change);
    const outcome = await verifyManifest(await jws(), contextOf(trusted, context));
    expect(outcome.ok ? "accepted" : outcome.error.code).toBe(code);
  });
});

describe("refused chunks", () => {
  test.each(CHUNK_FORGERIES)("$name: $code", async ({ code, edit }) => {
    const outcome = await acceptSnapshot(await signed(), editedChunks(edit), contextOf(root));
    expect(outcome).toMatchObject({ kind: "refused", refusal: { code } });
  });

  test("mix-and-match: a chunk of another signed snapshot under this one's name", async () => {
    const other = chunkSnapshot(makeSnapshot(21)).find(({ ref }) => ref.kind === first().kind && ref.name === first().name)!;
    const mixed = new Map(bytesByHash(chunks)).set(first().hash, other.bytes);
    expect(await acceptSnapshot(await signed(), mixed, contextOf(root))).toMatchObject({ kind: "refused" });
  });
});

describe("accepted manifests", () => {
  test.each([0, 1])("by key %i (EdDSA, ES256)", async (index) => {
    const outcome = await verifyManifest(await signed(good, keys.online[index]!), contextOf(root));
    expect(outcome).toMatchObject({ ok: true, value: { signers: [keys.online[index]!.kid], mayWiden: true, repeated: false } });
  });

  test("by three keys of both algorithms, each role at its threshold", async () => {
    const kids = keys.online.map((key) => key.kid);
    const roles = {
      routes: { kids, threshold: 2 },
      egress: { kids, threshold: 2, wideningThreshold: 3 },
      quota: { kids, threshold: 1 },
    };
    const outcome = await verifyManifest(
      await signed(good, ...keys.online),
      contextOf(await makeRoot(keys, { roles: { ...rootDocument(keys).roles, ...roles } })),
    );
    expect(outcome).toMatchObject({ ok: true, value: { signers: kids } });
  });

  test("within the clock skew, both ways", async () => {
    for (const manifest of [{ ...good, iat: NOW_S + 30, nbf: NOW_S + 30 }, routes({ softExp: 1, exp: NOW_S - 29 })]) {
      expect((await verifyManifest(await signed(manifest), contextOf(root))).ok).toBe(true);
    }
  });

  test("the accepted one again, its named successor, and one after a gap", async () => {
    const once = await verifyManifest(await signed({ ...good, version: 5 }), contextOf(root));
    if (!once.ok) throw new Error(once.error.detail);
    const context = contextOf(root, { accepted: once.value.state });
    expect(await verifyManifest(await signed({ ...good, version: 5 }), context)).toMatchObject({
      ok: true,
      value: { repeated: true },
    });
    const successor = { ...good, version: 6, prevHash: once.value.payloadHash };
    expect((await verifyManifest(await signed(successor), context)).ok).toBe(true);
    expect((await verifyManifest(await signed({ ...good, version: 9 }), context)).ok).toBe(true);
  });

  test("version 1 again under a root that raised the epoch", async () => {
    const raised = await makeRoot(keys, { epoch: 2 });
    const context = contextOf(raised, held({ version: Number.MAX_SAFE_INTEGER - 1 }));
    expect((await verifyManifest(await signed({ ...good, epoch: 2 }), context)).ok).toBe(true);
  });

  test("restored after a restart, long expired", async () => {
    const once = await verifyManifest(await signed(), contextOf(root));
    if (!once.ok) throw new Error(once.error.detail);
    const later = { nowS: NOW_S + 10 * 365 * 86_400, accepted: once.value.state };
    expect((await verifyManifest(await signed(), contextOf(root, { ...later, purpose: "restore" }))).ok).toBe(true);
    expect((await verifyManifest(await signed(), contextOf(root, later))).ok).toBe(false);
  });

  test("peekManifest shows what it says without judging who signed", async () => {
    const peeked = await peekManifest(await signed(good, stranger), DEFAULT_SNAPSHOT_LIMITS);
    expect(peeked).toMatchObject({ ok: true, value: { kids: [stranger.kid], manifest: { version: 1 } } });
  });
});

describe("one flipped bit", () => {
  test("of the manifest is never accepted as something else", async () => {
    const bytes = await signed();
    const payload = open(bytes).payload;
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
        const flipped = bytes.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const outcome = await verifyManifest(flipped, contextOf(root));
        // JSON itself may be spelled in two ways; what was signed may not.
        expect(outcome.ok && open(flipped).payload !== payload).toBe(false);
        expect(outcome.ok).toBe(false);
      }),
      { seed: 7, numRuns: 400 },
    );
  });

  test("of a chunk is never accepted", async () => {
    const jws = await signed();
    await fc.assert(
      fc.asyncProperty(fc.nat(chunks.length - 1), fc.nat(), async (which, where) => {
        const chunk = chunks[which]!;
        const flipped = chunk.bytes.slice();
        const bit = where % (flipped.length * 8);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const outcome = await acceptSnapshot(jws, new Map(bytesByHash(chunks)).set(chunk.ref.hash, flipped), contextOf(root));
        expect(outcome).toMatchObject({ kind: "refused", refusal: { code: "chunk_hash" } });
      }),
      { seed: 7, numRuns: 100 },
    );
  });

  test("no bytes whatever make it throw", async () => {
    const property = fc.asyncProperty(fc.oneof(fc.uint8Array(), fc.json().map(utf8)), async (bytes) => {
      expect((await verifyManifest(bytes, contextOf(root))).ok).toBe(false);
    });
    await fc.assert(property, { seed: 7, numRuns: 300 });
  });
});
