/**
 * Two threads against one. Two processors for the proxy and two for load and origin are needed to see the rate; with fewer, both run on the proxy's
 * one core, which shows what the second thread costs and not what it brings, and the bar is not judged.
 */
import { availableParallelism } from "node:os";
import type { Bar } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { LOAD_CPU, PROXY_CPU } from "../machine.ts";
import { tidegate } from "../peers/tidegate.ts";
import type { Results } from "../results.ts";
import { BODY_BYTES, CONNECTIONS, FULL_CHAIN, FULL_CHAIN_PATH, type Workload } from "../workload.ts";
import type { Contender, Row } from "./row.ts";

const NEEDED_CORES = 4;
const PROXY_CPUS = `${PROXY_CPU},2`;
const LOAD_CPUS = `${LOAD_CPU},3`;
const enough = availableParallelism() >= NEEDED_CORES;

export const threads: Row = {
  name: "threads",
  label: "one thread and two",
  title: `HTTP/1.1, full chain: one thread and two${enough ? "" : ", on one core"}`,
  unit: "requests",
  origin: "http",
  generator: wrk({ path: FULL_CHAIN_PATH, connections: CONNECTIONS, expect: { bytes: BODY_BYTES } }),
  contenders: [contender(1), contender(2)],
  loadCpus: enough ? LOAD_CPUS : LOAD_CPU,
  bars: (results) => [threadsBar(results)],
};

function contender(count: number): Contender {
  const workload: Workload = { downstream: "http1", upstream: "http1", ...FULL_CHAIN, threads: count };
  return { name: nameOf(count), peer: tidegate, workload, cpus: enough ? PROXY_CPUS : PROXY_CPU };
}

function nameOf(count: number): string {
  return count === 1 ? "1 thread" : `${count} threads`;
}

function threadsBar({ rows, machine }: Results): Bar {
  const [one, two] = [1, 2].map((count) => rows["threads"]?.figures[nameOf(count)]);
  const allowed = machine.cores >= NEEDED_CORES;
  return {
    what: "2 threads against 1",
    value: one === undefined || two === undefined ? undefined : two.rate / one.rate,
    bar: 1.8,
    atLeast: true,
    ...(!allowed && {
      unjudged: `${machine.cores} processors, ${NEEDED_CORES} are needed: two for the proxy, two for load and origin`,
    }),
  };
}
