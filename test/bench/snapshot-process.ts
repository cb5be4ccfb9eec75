/**
 * The process that `snapshot.ts` starts: `node test/bench/snapshot-process.ts ROUNDS`. Figures go to its standard output as JSON, progress to the other.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { chunkSnapshot } from "../../controlplane/snapshot/index.ts";
import { compile, type Tables } from "../../gateway/core/index.ts";
import { acceptSnapshot, type HeldSnapshot, type TrustRoot } from "../../gateway/core/ir/index.ts";
import { bytesByHash, contextOf, makeKey, makeRoot, makeSnapshot, manifestOf, signManifest } from "../support/snapshots.ts";
import type { SnapshotTimes } from "./snapshot.ts";
import { median } from "./statistics.ts";

interface Signed {
  readonly jws: Uint8Array;
  readonly bytes: ReadonlyMap<string, Uint8Array>;
  readonly root: TrustRoot;
}

const SIZES = [100, 1_000, 5_000];

async function measureAll(rounds: number): Promise<Record<string, SnapshotTimes>> {
  const key = await makeKey();
  const root = await makeRoot({ root: [await makeKey()], online: [key] });
  const results: Record<string, SnapshotTimes> = {};
  for (const routes of SIZES.toReversed()) {
    process.stderr.write(`snapshot of ${routes} routes: ${rounds} rounds\n`);
    const chunks = chunkSnapshot(makeSnapshot(routes));
    const bytes = bytesByHash(chunks);
    const signed: Signed = { jws: await signManifest(manifestOf(chunks, { version: 1 }), [key]), bytes, root };
    const verify: number[] = [];
    const compiled: number[] = [];
    for (let round = 0; round < rounds + 3; round += 1) {
      const started = performance.now();
      const held = await accept(signed);
      const accepted = performance.now();
      tablesOf(held);
      verify.push(accepted - started);
      compiled.push(performance.now() - accepted);
    }
    results[routes] = {
      verifyMs: median(verify.slice(3)),
      compileMs: median(compiled.slice(3)),
      firstMs: (verify[0] ?? 0) + (compiled[0] ?? 0),
      bytes: [...bytes.values()].reduce((sum, chunk) => sum + chunk.byteLength, 0),
      heldBytes: await measureHeld(signed),
    };
  }
  return Object.fromEntries(SIZES.map((routes) => [routes, results[routes]])) as Record<string, SnapshotTimes>;
}

async function accept({ jws, bytes, root }: Signed): Promise<HeldSnapshot> {
  const outcome = await acceptSnapshot(jws, bytes, contextOf(root, { held: undefined }));
  if (outcome.kind !== "accepted") throw new Error(`the bench's own snapshot was not accepted: ${JSON.stringify(outcome)}`);
  return outcome.held;
}

function tablesOf(held: HeldSnapshot): Tables {
  const tables = compile(held.snapshot, "1.1", undefined);
  if (!tables.ok) throw new Error(`the bench's own snapshot does not compile: ${JSON.stringify(tables.error[0])}`);
  return tables.value;
}

/** The heap with one snapshot in force against the heap without, nothing else being left in either. */
async function measureHeld(signed: Signed): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage().heapUsed;
  const held = await accept(signed);
  const inForce = { held, tables: tablesOf(held) };
  collect();
  const after = process.memoryUsage().heapUsed;
  // They are still needed here, so they were there when the heap was measured.
  if (inForce.tables.routeTables.size !== inForce.held.snapshot.routeTables.length) throw new Error("a route table is missing");
  return after - before;
}

process.stdout.write(JSON.stringify(await measureAll(Number(process.argv[2]))));
