/**
 * `npm run fuzz -- [--runs N] [--seed S] [--target NAME]`: N inputs over all targets (default 1,000,000), or over one. The parsers of HTTP/1.1 are held against
 * nginx and HAProxy as well, as targets of their own, where these can be had.
 *
 * Exit codes: 0 nothing found, 1 a property failed, 2 the command line is wrong.
 */
import { parseArgs } from "node:util";
import { missing, type PeerName } from "./proxies/peers.ts";
import { fuzzPeer } from "./proxies/run.ts";
import { fuzz } from "./run.ts";
import type { FuzzTarget } from "./target.ts";
import { loadTargets } from "./targets.ts";

interface Options {
  readonly runs: number;
  readonly seed: number;
  readonly targets: readonly FuzzTarget[];
  readonly peers: readonly PeerTarget[];
}

/** A parser held against a proxy. */
interface PeerTarget {
  readonly name: string;
  readonly peer: PeerName;
  readonly target: FuzzTarget;
}

function peerTargets(all: readonly FuzzTarget[]): readonly PeerTarget[] {
  const parsers = all.filter(({ name }) => name === "http1-request" || name === "http1-response");
  return (["nginx", "haproxy"] as const).flatMap((peer) =>
    parsers.map((target) => ({ name: `${target.name}-${peer}`, peer, target })),
  );
}

function readOptions(all: readonly FuzzTarget[]): Options | readonly string[] {
  const problems: string[] = [];
  let values: { runs?: string; seed?: string; target?: string } = {};
  try {
    ({ values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" }, target: { type: "string" } } }));
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
  const runs = Number(values.runs ?? 1_000_000);
  if (!Number.isSafeInteger(runs) || runs < 1) problems.push(`--runs ${values.runs}: has to be a whole number from 1`);
  const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
  if (!Number.isSafeInteger(seed)) problems.push(`--seed ${values.seed}: has to be a whole number`);
  const wanted = ({ name }: { readonly name: string }) => values.target === undefined || name === values.target;
  const known = [...all, ...peerTargets(all)];
  const [targets, peers] = [all.filter(wanted), peerTargets(all).filter(wanted)];
  if (targets.length + peers.length === 0)
    problems.push(`--target ${values.target}: no such target; there are ${known.map(({ name }) => name).join(", ")}`);
  return problems.length > 0 ? problems : { runs, seed, targets, peers };
}

/** Progress, on a terminal; without a count the line is wiped. */
function told(name: string, done?: number, runs = 0): void {
  if (process.stderr.isTTY) process.stderr.write(done === undefined ? "\r\x1b[K" : `\r${name} ${done} of ${runs}`);
}

function fuzzTarget(target: FuzzTarget, runs: number, seed: number): boolean {
  const started = Date.now();
  const { done, failure } = fuzz({ target, runs, seed, progress: (count) => told(target.name, count, runs) });
  told(target.name);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${target.name}: ${done} inputs in ${seconds} s; ${target.summary()}\n`);
  if (failure === undefined) return true;
  process.stdout.write(
    `${target.name} FAILED at input ${done}\n  ${failure.message}\n  input ${JSON.stringify(Buffer.from(failure.input).toString("latin1"))}\n` +
      `  again: node test/fuzz/main.ts --target ${target.name} --seed ${seed} --runs ${done + 1}\n`,
  );
  return false;
}

async function fuzzBesides({ name, peer, target }: PeerTarget, runs: number, seed: number): Promise<boolean> {
  const reason = missing(peer);
  if (reason !== undefined) {
    process.stdout.write(`${name}: left out, ${reason}\n`);
    return true;
  }
  const started = Date.now();
  const { done, explained, failure } = await fuzzPeer({ peer, target, runs, seed, progress: (count) => told(name, count, runs) });
  told(name);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${name}: ${done} inputs in ${seconds} s; explained: ${JSON.stringify(explained)}\n`);
  if (failure === undefined) return true;
  process.stdout.write(
    `${name} FAILED: nothing explains this\n  ${JSON.stringify(failure)}\n  again: node test/fuzz/main.ts --target ${name} --seed ${seed} --runs ${done}\n`,
  );
  return false;
}

const options = readOptions(await loadTargets());
if ("targets" in options) {
  const { runs, seed, targets, peers } = options;
  process.stdout.write(`seed ${seed}\n`);
  const share = Math.ceil(runs / (targets.length + peers.length));
  const passed = targets.map((target) => fuzzTarget(target, share, seed));
  for (const peer of peers) passed.push(await fuzzBesides(peer, share, seed));
  process.exitCode = passed.every(Boolean) ? 0 : 1;
} else {
  for (const problem of options) process.stderr.write(`fuzz: ${problem}\n`);
  process.exitCode = 2;
}
