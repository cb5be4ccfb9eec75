/** What a cluster's endpoints are spoken to in, by the service's port and the DestinationRule. */
import type { Cluster } from "../../gateway/core/ir/index.ts";
import type { ConnectionPool } from "../config/index.ts";

/** Protocols of ports that are HTTP/2 whether or not anybody asks for an upgrade. */
const HTTP2_PROTOCOLS: readonly string[] = ["HTTP2", "GRPC", "GRPC-WEB"];

/** Istio's order: `useClientProtocol` makes `h2UpgradePolicy` ineffective, and neither takes HTTP/2 from a port that is declared so. */
export function upstreamProtocol(
  port: string,
  pool: ConnectionPool | undefined,
): Pick<Cluster, "protocol" | "http2" | "grpcWeb"> {
  const http = pool?.http;
  const protocol =
    http?.useClientProtocol === true
      ? "client"
      : HTTP2_PROTOCOLS.includes(port) || http?.h2UpgradePolicy === "UPGRADE"
        ? "http2"
        : undefined;
  if (protocol === undefined) return {};
  const streams = http?.maxConcurrentStreams ?? 0;
  return {
    protocol,
    ...(streams > 0 ? { http2: { maxConcurrentStreams: streams } } : {}),
    // The application speaks gRPC, and clients come with gRPC-Web: somebody in between has to translate, as Istio's filter for such ports does.
    ...(port === "GRPC-WEB" ? { grpcWeb: true } : {}),
  };
}

/** Why an edge site cannot reach the port, or undefined. */
export function whyNotSpoken(port: string, { tls, via, protocol, host }: Cluster): string | undefined {
  if (port === "GRPC") return `${host} speaks gRPC, which needs trailers, and Workers pass none on; use a gateway on Node`;
  // A cluster's gateway translates for what is behind it.
  if (port === "GRPC-WEB" && via === undefined)
    return `${host} speaks gRPC to clients of gRPC-Web, which takes trailers to translate, and Workers get none; use a gateway on Node`;
  if (via === undefined && protocol === "http2" && tls === undefined)
    return `${host} is spoken to in HTTP/2 without TLS, and fetch speaks HTTP/2 over TLS alone; add tls.mode SIMPLE in a DestinationRule, or use a gateway on Node`;
  return undefined;
}
