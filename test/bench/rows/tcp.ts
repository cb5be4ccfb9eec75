/**
 * TCP: 1 KiB there, 1 KiB back, and again. What is sent happens to be HTTP, so that wrk and nginx, which are faster than any proxy here and notice
 * every wrong byte, can be the two ends; the proxies are told that it is TCP.
 */
import { againstBar } from "../bars.ts";
import { wrk } from "../load/wrk.ts";
import { PING_BODY_BYTES } from "../origins.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { tidegate } from "../peers/tidegate.ts";
import { CONNECTIONS, PLAIN } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

/** With the request line and Host, a request is about 1 KiB. */
const PADDING = "x".repeat(960);

export const tcp: Row = {
  name: "tcp",
  label: "TCP, 1 KiB there and back",
  title: "TCP proxy: 1 KiB there and back, 32 connections",
  unit: "round trips",
  origin: "http",
  generator: wrk({ path: "/ping", connections: CONNECTIONS, expect: { bytes: PING_BODY_BYTES }, headers: { "x-p": PADDING } }),
  contenders: contenders({ downstream: "tcp", upstream: "tcp", ...PLAIN }, tidegate, nginx, haproxy, envoy),
  bars: ({ rows }) => [againstBar({ what: "TCP ping-pong against HAProxy", result: rows["tcp"], other: "haproxy", bar: 0.9 })],
};
