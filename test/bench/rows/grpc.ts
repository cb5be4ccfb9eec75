/** Unary gRPC: HTTP/2 in clear on both sides. The origin without a proxy stands beside, to show that it is not what limits them. */
import { againstBar } from "../bars.ts";
import { h2load } from "../load/h2load.ts";
import { direct } from "../peers/direct.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import { tidegate } from "../peers/tidegate.ts";
import { FULL_CHAIN } from "../workload.ts";
import { contenders, type Row } from "./row.ts";

export const grpc: Row = {
  name: "grpc",
  label: "gRPC unary, HTTP/2 both sides",
  title: "gRPC unary, HTTP/2 both sides, full chain: 8 connections of 10 streams",
  unit: "requests",
  origin: "grpc",
  generator: h2load({ path: "/r70/Call", tls: false, grpc: true }),
  contenders: contenders({ downstream: "http2", upstream: "http2", ...FULL_CHAIN }, tidegate, nginx, haproxy, envoy, direct),
  bars: ({ rows }) => [againstBar({ what: "gRPC unary against Envoy", result: rows["grpc"], other: "envoy", bar: 1.4 })],
};
