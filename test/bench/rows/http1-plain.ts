/** HTTP/1.1 with nothing else on: what it costs to pass a small request on. */
import { againstBar } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { relay } from "../peers/relay.ts";
import { tidegate } from "../peers/tidegate.ts";
import { BODY_BYTES, CONNECTIONS, PLAIN } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

export const http1Plain: Row = {
  name: "http1-plain",
  label: "HTTP/1.1, plain",
  title: "HTTP/1.1, plain: 1 KiB response, 32 connections",
  unit: "requests",
  origin: "http",
  generator: wrk({ path: "/", connections: CONNECTIONS, expect: { bytes: BODY_BYTES } }),
  contenders: contenders({ downstream: "http1", upstream: "http1", ...PLAIN }, tidegate, relay, nginx, haproxy, envoy),
  bars: ({ rows }) => [
    againstBar({ what: "HTTP/1.1 plain against the bare relay", result: rows["http1-plain"], other: "relay", bar: 0.9 }),
    againstBar({ what: "HTTP/1.1 plain against Envoy", result: rows["http1-plain"], other: "envoy", bar: 2.5 }),
  ],
};
