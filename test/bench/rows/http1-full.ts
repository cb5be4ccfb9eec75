/** HTTP/1.1 with all that a user has on. */
import { againstBar, type Bar, beside } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { tidegate } from "../peers/tidegate.ts";
import type { Results } from "../results.ts";
import { BODY_BYTES, CONNECTIONS, FULL_CHAIN, FULL_CHAIN_PATH } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

export const http1Full: Row = {
  name: "http1-full",
  label: "HTTP/1.1",
  title: "HTTP/1.1, full chain: 100 routes, quota, metrics, access log",
  unit: "requests",
  origin: "http",
  generator: wrk({ path: FULL_CHAIN_PATH, connections: CONNECTIONS, expect: { bytes: BODY_BYTES } }),
  contenders: contenders({ downstream: "http1", upstream: "http1", ...FULL_CHAIN }, tidegate, nginx, haproxy, envoy),
  bars: (results) => [
    againstBar({ what: "HTTP/1.1 full chain against Envoy", result: results.rows["http1-full"], other: "envoy", bar: 2 }),
    chainBar(results),
  ],
};

/** What the features cost: ours with them against ours without, measured in the same rounds. */
function chainBar({ rows }: Results): Bar {
  const result = beside("plain", rows["http1-full"], rows["http1-plain"]);
  return againstBar({ what: "HTTP/1.1 full chain against our plain", result, other: "plain", bar: 0.75 });
}
