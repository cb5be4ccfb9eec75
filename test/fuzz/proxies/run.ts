/**
 * A second opinion: what our parsers make of an input against what nginx and HAProxy do with it, over loopback. They are asked many inputs at a
 * time, so the run does not stop at the first disagreement but at the end of its batch.
 */
import { inputOf } from "../run.ts";
import type { FuzzTarget } from "../target.ts";
import { type Disagreement, explanationOf } from "./disagreements.ts";
import { manyAtATime } from "./exchange.ts";
import { type PeerName, startPeer } from "./peers.ts";
import { compareRequest } from "./requests.ts";
import { ByteOrigin, compareResponse } from "./responses.ts";

export interface PeerRun {
  readonly peer: PeerName;
  /** Whose seeds, grammar and tokens; its name says which parser is compared. */
  readonly target: FuzzTarget;
  readonly runs: number;
  readonly seed: number;
  /** Stop at this time (`Date.now`), even if runs are left. */
  readonly untilMs?: number;
  progress?(done: number): void;
}

export interface PeerResult {
  readonly done: number;
  /** How often each explanation was needed. */
  readonly explained: { readonly [name: string]: number };
  readonly failure: Disagreement | undefined;
}

/** Inputs asked for together; few enough to stop soon, many enough to keep both sides busy. */
const BATCH = 500;
const AT_A_TIME = 48;
/** A peer that closes before it has read everything resets the connection, which can take its answers away: what it says is asked for so often. */
const ASKED_AGAIN = 3;

const isUnexplained = (found: Disagreement): boolean => explanationOf(found) === undefined;

export async function fuzzPeer({ peer: name, target, runs, seed, untilMs, progress }: PeerRun): Promise<PeerResult> {
  const origin = await new ByteOrigin().start();
  const peer = await startPeer(name, origin.port);
  const explained: { [name: string]: number } = {};
  let failure: Disagreement | undefined;
  let done = 0;
  const compare = async (input: Uint8Array): Promise<readonly Disagreement[]> => {
    const all =
      target.name === "http1-request" ? await compareRequest(peer, input) : [await compareResponse(peer, origin, input)];
    return all.filter((found) => found !== undefined);
  };
  const check = async (input: Uint8Array): Promise<void> => {
    let all = await compare(input);
    for (let asked = 1; asked < ASKED_AGAIN && all.some(isUnexplained); asked++) all = await compare(input);
    failure ??= all.find(isUnexplained);
    for (const found of all) {
      const name = explanationOf(found)?.name ?? "none";
      explained[name] = (explained[name] ?? 0) + 1;
    }
  };
  try {
    while (done < runs && failure === undefined && (untilMs === undefined || Date.now() < untilMs)) {
      progress?.(done);
      const size = Math.min(BATCH, runs - done);
      const inputs = Array.from({ length: size }, (_, i) => comparable(inputAt(target, done + i, seed)));
      await manyAtATime(inputs, AT_A_TIME, check);
      done += size;
    }
  } finally {
    await peer.stop();
    origin.stop();
  }
  return { done, explained, failure };
}

function inputAt(target: FuzzTarget, index: number, seed: number): Uint8Array {
  return inputOf(target, index, (seed + Math.imul(index, 0x9e3779b1)) | 0);
}

/** Answers to HEAD cannot be told apart without knowing how their requests were read, which is what is asked. */
function comparable(input: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(input).toString("latin1").replaceAll("HEAD", "GET"), "latin1");
}
