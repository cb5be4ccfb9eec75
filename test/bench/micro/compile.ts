/** Compile time of snapshots, first in the process (cold) and again (warm; with and without the tables before): `node test/bench/micro/compile.ts`. */
import { compile } from "../../../gateway/core/index.ts";
import { mesh } from "./mesh.ts";

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

function timed(routes: number, perHost: number): string {
  const snapshot = mesh(routes, perHost);
  const once = (previous: Parameters<typeof compile>[2]) => {
    // Decoded anew, as a snapshot always is.
    const copy = structuredClone(snapshot);
    const startedMs = performance.now();
    const result = compile(copy, "1.1", previous);
    const ms = performance.now() - startedMs;
    if (!result.ok) throw new Error(JSON.stringify(result.error.slice(0, 3)));
    return { ms, tables: result.value };
  };
  const cold = once(undefined);
  const warm = Array.from({ length: 9 }, () => once(undefined).ms);
  const again = Array.from({ length: 9 }, () => once(cold.tables).ms);
  const ms = (value: number) => value.toFixed(1).padStart(6);
  return `${String(routes).padStart(6)} routes, ${String(perHost).padStart(5)} per host: first ${ms(cold.ms)} ms, then ${ms(median(warm))} ms, over previous tables ${ms(median(again))} ms`;
}

const [routes, perHost] = process.argv.slice(2).map(Number);
if (routes !== undefined) console.log(timed(routes, perHost ?? 10));
else
  for (const [total, per] of [
    [5000, 10],
    [100, 100],
    [1000, 10],
    [10_000, 10],
    [5000, 5000],
  ] as const)
    console.log(timed(total, per));
