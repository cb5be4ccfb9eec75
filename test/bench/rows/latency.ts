/** Latency that a proxy adds at a load that all of them carry easily: p99 with it less p99 without, at a fixed pace. */
import type { Bar } from "../bars.ts";
import { paced } from "../load/paced.ts";
import { wrk } from "../load/wrk.ts";
import { DIRECT, direct } from "../peers/direct.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { OWN, tidegate } from "../peers/tidegate.ts";
import type { LoadResult, Results } from "../results.ts";
import { BODY_BYTES, CONNECTIONS, FULL_CHAIN, FULL_CHAIN_PATH } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

/**
 * Some 100,000 requests first, as many as two minutes of the row's own load. All five rounds have 14,000, in which a runtime with a compiler still
 * compiles, here on the one processor that serves: the tail would be that of a gateway in its first seconds.
 */
const SERVED_SECONDS = 4;

export const latency: Row = {
  name: "latency",
  label: "p99 added at 1,000 requests/s",
  title: "latency at 1,000 requests/s over 16 connections, full chain, open loop",
  unit: "requests",
  origin: "http",
  generator: paced({ path: FULL_CHAIN_PATH, connections: 16, perSecond: 1_000, bytes: BODY_BYTES }),
  served: {
    generator: wrk({ path: FULL_CHAIN_PATH, connections: CONNECTIONS, expect: { bytes: BODY_BYTES } }),
    seconds: SERVED_SECONDS,
  },
  contenders: contenders({ downstream: "http1", upstream: "http1", ...FULL_CHAIN }, tidegate, nginx, haproxy, envoy, direct),
  bars: (results) => [latencyBar(results)],
};

/** Milliseconds that a contender adds at p99; undefined: not measured. */
export function addedP99Ms(result: LoadResult | undefined, contender: string): number | undefined {
  const [through, without] = [result?.figures[contender]?.p99Ms, result?.figures[DIRECT]?.p99Ms];
  return through === undefined || without === undefined ? undefined : through - without;
}

/** Less than this is nothing that the generator could tell from its own noise. */
const RESOLUTION_MS = 0.01;

/** How many times as much `other` adds as ours; undefined: not measured, or somebody added less than nothing, which is the machine's doing. */
export function addedRatio(result: LoadResult | undefined, other: string): number | undefined {
  const [own, theirs] = [addedP99Ms(result, OWN), addedP99Ms(result, other)];
  if (own === undefined || theirs === undefined || Math.min(own, theirs) < -RESOLUTION_MS) return undefined;
  return Math.max(theirs, RESOLUTION_MS) / Math.max(own, RESOLUTION_MS);
}

function latencyBar({ rows }: Results): Bar {
  const result = rows["latency"];
  const [own, theirs] = [OWN, "envoy"].map((name) => addedP99Ms(result, name)?.toFixed(2) ?? "-");
  return {
    what: "p99 added at 1,000 requests/s: Envoy's against ours",
    value: addedRatio(result, "envoy"),
    bar: 1,
    atLeast: true,
    other: "envoy",
    note: `ours ${own} ms, Envoy's ${theirs} ms`,
  };
}
