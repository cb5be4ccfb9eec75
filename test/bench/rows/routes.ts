/** Whether it matters how many routes there are: every route of every host is asked for in turn. */
import { againstBar, beside } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import type { Peer } from "../peers/peer.ts";
import { tidegate } from "../peers/tidegate.ts";
import { BODY_BYTES, CONNECTIONS, hostName, type Routes, type Workload } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

const FEW: Routes = { hosts: 1, perHost: 10 };
const MANY: Routes = { hosts: 1_000, perHost: 10 };

export const routesFew: Row = { ...rowOf("routes-10", "10 routes", FEW, tidegate), bars: () => [] };

export const routesMany: Row = {
  ...rowOf("routes-10000", "10,000 routes", MANY, tidegate, nginx, haproxy, envoy),
  bars: ({ rows }) => {
    const result = beside("10 routes", rows["routes-10000"], rows["routes-10"]);
    return [againstBar({ what: "10,000 routes against 10", result, other: "10 routes", bar: 0.95 })];
  },
};

function rowOf(name: string, label: string, routes: Routes, ...peers: readonly Peer[]): Omit<Row, "bars"> {
  const workload: Workload = { downstream: "http1", upstream: "http1", policies: true, routes };
  return {
    name,
    label,
    title: `${label} over ${routes.hosts.toLocaleString("en")} hosts, full chain`,
    unit: "requests",
    origin: "http",
    generator: wrk({
      path: "/r0/item",
      connections: CONNECTIONS,
      expect: { bytes: BODY_BYTES },
      headers: { Host: hostName(0) },
      script: { file: "hosts.lua", arguments: [String(routes.hosts), String(routes.perHost)] },
    }),
    contenders: contenders(workload, ...peers),
  };
}
