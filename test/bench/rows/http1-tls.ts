/** HTTP/1.1 over TLS to the client, in clear to the origin. */
import { againstBar } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { relay } from "../peers/relay.ts";
import { tidegate } from "../peers/tidegate.ts";
import { BODY_BYTES, CONNECTIONS, FULL_CHAIN, FULL_CHAIN_PATH } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

export const http1Tls: Row = {
  name: "http1-tls",
  label: "HTTP/1.1 over TLS",
  title: "HTTP/1.1 over TLS, full chain: 1 KiB response, 32 connections",
  unit: "requests",
  origin: "http",
  generator: wrk({ path: FULL_CHAIN_PATH, tls: true, connections: CONNECTIONS, expect: { bytes: BODY_BYTES } }),
  contenders: contenders({ downstream: "tls", upstream: "http1", ...FULL_CHAIN }, tidegate, relay, nginx, haproxy, envoy),
  bars: ({ rows }) => [
    againstBar({ what: "HTTP/1.1 over TLS against the bare relay", result: rows["http1-tls"], other: "relay", bar: 0.9 }),
    againstBar({ what: "HTTP/1.1 over TLS against Envoy", result: rows["http1-tls"], other: "envoy", bar: 1.8 }),
  ],
};
