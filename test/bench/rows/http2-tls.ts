/** HTTP/2 over TLS to the client, HTTP/1.1 in clear to the origin. */
import { againstBar } from "../bars.ts";
import { h2load } from "../load/h2load.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { tidegate } from "../peers/tidegate.ts";
import { FULL_CHAIN, FULL_CHAIN_PATH } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

export const http2Tls: Row = {
  name: "http2-tls",
  label: "HTTP/2 over TLS",
  title: "HTTP/2 over TLS, full chain: 1 KiB response, 8 connections of 10 streams",
  unit: "requests",
  origin: "http",
  generator: h2load({ path: FULL_CHAIN_PATH, tls: true }),
  contenders: contenders({ downstream: "tls", upstream: "http1", ...FULL_CHAIN }, tidegate, nginx, haproxy, envoy),
  bars: ({ rows }) => [
    againstBar({ what: "HTTP/2 over TLS against nginx", result: rows["http2-tls"], other: "nginx", bar: 0.45 }),
    againstBar({ what: "HTTP/2 over TLS against Envoy", result: rows["http2-tls"], other: "envoy", bar: 1.5 }),
  ],
};
