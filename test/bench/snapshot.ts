/** How long a gateway takes from a snapshot's signed bytes to tables: everything new, nothing held. */
import { chunkSnapshot } from "../../controlplane/snapshot/index.ts";
import { compile } from "../../gateway/core/index.ts";
import { acceptSnapshot } from "../../gateway/core/ir/index.ts";
import { bytesByHash, contextOf, makeKey, makeRoot, makeSnapshot, manifestOf, signManifest } from "../support/snapshots.ts";
import { median } from "./measure.ts";

export interface SnapshotTimes {
  /** Signatures, hashes, decoding. Median after warm-up. */
  readonly verifyMs: number;
  readonly compileMs: number;
  /** Both, the first time in the process, when nothing is compiled to machine code yet. */
  readonly firstMs: number;
  readonly bytes: number;
}

const SIZES = [100, 1_000, 5_000];

export async function measureSnapshots(rounds: number, say: (text: string) => void): Promise<Record<string, SnapshotTimes>> {
  const key = await makeKey();
  const root = await makeRoot({ root: [await makeKey()], online: [key] });
  const results: Record<string, SnapshotTimes> = {};
  for (const routes of SIZES.toReversed()) {
    say(`snapshot of ${routes} routes: ${rounds} rounds`);
    const chunks = chunkSnapshot(makeSnapshot(routes));
    const bytes = bytesByHash(chunks);
    const jws = await signManifest(manifestOf(chunks, { version: 1 }), [key]);
    const verify: number[] = [];
    const compiled: number[] = [];
    for (let round = 0; round < rounds + 3; round += 1) {
      const started = performance.now();
      const outcome = await acceptSnapshot(jws, bytes, contextOf(root, { held: undefined }));
      if (outcome.kind !== "accepted") throw new Error(`the bench's own snapshot was not accepted: ${JSON.stringify(outcome)}`);
      const accepted = performance.now();
      const tables = compile(outcome.held.snapshot, "1.1", undefined);
      if (!tables.ok) throw new Error(`the bench's own snapshot does not compile: ${JSON.stringify(tables.error[0])}`);
      verify.push(accepted - started);
      compiled.push(performance.now() - accepted);
    }
    results[routes] = {
      verifyMs: median(verify.slice(3)),
      compileMs: median(compiled.slice(3)),
      firstMs: (verify[0] ?? 0) + (compiled[0] ?? 0),
      bytes: [...bytes.values()].reduce((sum, chunk) => sum + chunk.byteLength, 0),
    };
  }
  return Object.fromEntries(SIZES.map((routes) => [routes, results[routes]])) as Record<string, SnapshotTimes>;
}
