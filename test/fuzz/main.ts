/**
 * `npm run fuzz -- [--runs N] [--seed S] [--target NAME]`: N inputs over all targets (default 1,000,000), or over one.
 *
 * Exit codes: 0 nothing found, 1 a property failed, 2 the command line is wrong.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./run.ts";
import type { FuzzTarget } from "./target.ts";
import { loadTargets } from "./targets.ts";

interface Options {
  readonly runs: number;
  readonly seed: number;
  readonly targets: readonly FuzzTarget[];
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
  const targets = values.target === undefined ? all : all.filter(({ name }) => name === values.target);
  if (targets.length === 0)
    problems.push(`--target ${values.target}: no such target; there are ${all.map(({ name }) => name).join(", ")}`);
  return problems.length > 0 ? problems : { runs, seed, targets };
}

function fuzzTarget(target: FuzzTarget, runs: number, seed: number): boolean {
  const started = Date.now();
  const terminal = process.stderr.isTTY;
  const progress = (done: number): void => {
    if (terminal) process.stderr.write(`\r${target.name} ${done} of ${runs}`);
  };
  const { done, failure } = fuzz({ target, runs, seed, progress });
  if (terminal) process.stderr.write("\r\x1b[K");
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${target.name}: ${done} inputs in ${seconds} s; ${target.summary()}\n`);
  if (failure === undefined) return true;
  process.stdout.write(
    `${target.name} FAILED at input ${done}\n  ${failure.message}\n  input ${JSON.stringify(Buffer.from(failure.input).toString("latin1"))}\n` +
      `  again: node test/fuzz/main.ts --target ${target.name} --seed ${seed} --runs ${done + 1}\n`,
  );
  return false;
}

const options = readOptions(await loadTargets());
if ("targets" in options) {
  const { runs, seed, targets } = options;
  process.stdout.write(`seed ${seed}\n`);
  const share = Math.ceil(runs / targets.length);
  const passed = targets.map((target) => fuzzTarget(target, share, seed));
  process.exitCode = passed.every(Boolean) ? 0 : 1;
} else {
  for (const problem of options) process.stderr.write(`fuzz: ${problem}\n`);
  process.exitCode = 2;
}
