/**
 * How long a gateway takes from a snapshot's signed bytes to tables (everything new, nothing held), and what it then holds. Measured in a process of its own,
 * as a gateway is one: here the heap is full of what was measured before.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

export interface SnapshotTimes {
  /** Signatures, hashes, decoding. Median after warm-up. */
  readonly verifyMs: number;
  readonly compileMs: number;
  /** Both, the first time in the process, when nothing is compiled to machine code yet. */
  readonly firstMs: number;
  readonly bytes: number;
  /** Heap that the accepted snapshot and its tables keep. */
  readonly heldBytes: number;
}

const PROCESS = join(import.meta.dirname, "snapshot-process.ts");

/** By number of routes. */
export async function measureSnapshots(rounds: number): Promise<Record<string, SnapshotTimes>> {
  const running = promisify(execFile)(process.execPath, [PROCESS, String(rounds)]);
  running.child.stderr?.pipe(process.stderr);
  return JSON.parse((await running).stdout) as Record<string, SnapshotTimes>;
}
