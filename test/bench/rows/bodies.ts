/** Bodies of 1 MiB, down and up: bytes per second, and memory that does not grow with what has passed through. */
import { againstBar, type Bar } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { OWN, tidegate } from "../peers/tidegate.ts";
import type { Results } from "../results.ts";
import { FULL_CHAIN, MIB, type Workload } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

const BODY_CONNECTIONS = 8;
/** Between the first counted round and the last: some gigabytes pass in that time. */
const FLAT_MIB = 32;
const WORKLOAD: Workload = { downstream: "http1", upstream: "http1", ...FULL_CHAIN };
/** The origin of uploads answers with how much it has read. */
const COUNT_BYTES = String(MIB).length;

export const bodiesDown: Row = {
  name: "bodies-down",
  label: "1 MiB responses",
  title: "1 MiB responses, full chain: 8 connections",
  unit: "MiB",
  origin: "http",
  generator: wrk({ path: "/r70/mib", connections: BODY_CONNECTIONS, expect: { bytes: MIB } }),
  contenders: contenders(WORKLOAD, tidegate, nginx, haproxy, envoy),
  bars: (results) => bodyBars(results, "bodies-down", "1 MiB responses"),
};

export const bodiesUp: Row = {
  name: "bodies-up",
  label: "1 MiB requests",
  title: "1 MiB requests, full chain: 8 connections",
  unit: "MiB",
  origin: "sink",
  generator: wrk({
    path: "/r70/upload",
    connections: BODY_CONNECTIONS,
    expect: { bytes: COUNT_BYTES, upload: Buffer.alloc(MIB, "x") },
    script: { file: "upload.lua", arguments: [] },
  }),
  contenders: contenders(WORKLOAD, tidegate, nginx, haproxy, envoy),
  bars: (results) => bodyBars(results, "bodies-up", "1 MiB requests"),
};

function bodyBars({ rows }: Results, name: string, title: string): readonly Bar[] {
  const result = rows[name];
  const own = result?.figures[OWN];
  const growth: Bar = {
    what: `${title}, memory grown over all rounds`,
    value: own?.rssGrowthMb,
    bar: FLAT_MIB,
    atLeast: false,
    unit: "MiB",
    ...(own !== undefined && own.rounds < 2 && { unjudged: "it takes two rounds to see growth" }),
  };
  return [againstBar({ what: `${title} against nginx, bytes/s`, result, other: "nginx", bar: 0.8 }), growth];
}
