/**
 * How long a gateway takes from a signed snapshot's bytes to decoded IR: `node test/bench/micro/snapshot.ts [routes…]`.
 * Cold: everything is new. Warm: one endpoint changed, the rest is held. Medians over rounds after warm-up.
 */
import { chunkSnapshot } from "../../../controlplane/snapshot/index.ts";
import { acceptSnapshot, type HeldSnapshot, type Snapshot, verifyManifest } from "../../../gateway/core/ir/index.ts";
import { verifyChunk } from "../../../gateway/core/ir/verify.ts";
import { bytesByHash, contextOf, makeKey, makeRoot, makeSnapshot, manifestOf, signManifest } from "../../support/snapshots.ts";

const ROUNDS = 15;
const key = await makeKey();
const root = await makeRoot({ root: [await makeKey()], online: [key] });

const sizes = process.argv.slice(2).map(Number);
const rows = [];
for (const routes of sizes.length > 0 ? sizes : [100, 1_000, 5_000]) rows.push(await measure(routes));
console.table(rows);

async function measure(routes: number) {
  const snapshot = makeSnapshot(routes);
  const first = await bundle(snapshot, 1);
  const second = await bundle({ ...snapshot, endpoints: moved(snapshot) }, 2);
  const held = await accepted(first, undefined);
  return {
    routes,
    chunks: first.bytes.size,
    KiB: Math.round([...first.bytes.values()].reduce((sum, bytes) => sum + bytes.byteLength, 0) / 1_024),
    chunkMs: await median(async () => chunkSnapshot(snapshot)),
    signaturesMs: await median(() => verifyManifest(first.jws, contextOf(root))),
    hashMs: await median(() => Promise.all(first.chunks.map((chunk) => verifyChunk(chunk.ref, chunk.bytes)))),
    acceptColdMs: await median(() => accepted(first, undefined)),
    acceptWarmMs: await median(() => accepted(second, held)),
  };
}

async function bundle(snapshot: Snapshot, version: number) {
  const chunks = chunkSnapshot(snapshot);
  return { chunks, bytes: bytesByHash(chunks), jws: await signManifest(manifestOf(chunks, { version }), [key]) };
}

async function accepted(
  of: { jws: Uint8Array; bytes: ReadonlyMap<string, Uint8Array> },
  held: HeldSnapshot | undefined,
): Promise<HeldSnapshot> {
  const outcome = await acceptSnapshot(of.jws, of.bytes, contextOf(root, { held }));
  if (outcome.kind !== "accepted") throw new Error(JSON.stringify(outcome));
  return outcome.held;
}

function moved(snapshot: Snapshot): Snapshot["endpoints"] {
  return snapshot.endpoints.map((item, i) =>
    i === 0 ? { ...item, endpoints: [{ address: "10.9.9.9", port: 8080, weight: 1 }] } : item,
  );
}

async function median(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS + 5; round++) {
    const start = performance.now();
    await run();
    if (round >= 5) times.push(performance.now() - start);
  }
  return Math.round((times.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0) * 100) / 100;
}
