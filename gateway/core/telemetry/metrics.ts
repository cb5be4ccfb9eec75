/** The metrics of a gateway as data: names, kinds, labels, buckets. Counting and keeping them is the runtime's. */

import type { ConnectionFacts, RequestRecord } from "../ports.ts";

export interface MetricDefinition {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets, without the last, infinite one. */
  readonly buckets?: readonly number[];
}

/** Istio's labels that a gateway without workload identities can fill; `requestLabels` fills them in this order. */
export const REQUEST_LABELS = [
  "reporter",
  "source_principal",
  "destination_service",
  "destination_service_name",
  "destination_service_namespace",
  "request_protocol",
  "response_code",
  "grpc_response_status",
  "response_flags",
  "connection_security_policy",
] as const;

/** The values of REQUEST_LABELS for a request. Requests alike in cluster, statuses, flags, TLS and principal have the same: resolve once, count often. */
export function requestLabels(record: RequestRecord): readonly string[] {
  const { grpcStatus } = record;
  const protocol = grpcStatus === undefined ? "http" : "grpc";
  const grpc = grpcStatus === undefined ? "" : String(grpcStatus);
  return [...partyLabels(record), protocol, String(record.status), grpc, record.flags, securityLabel(record)];
}

/** Istio's labels of opaque connections; `connectionLabels` fills them in this order. */
export const CONNECTION_LABELS = [
  "reporter",
  "source_principal",
  "destination_service",
  "destination_service_name",
  "destination_service_namespace",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
] as const;

/** The values of CONNECTION_LABELS. @param flags `-` while the connection is open */
export function connectionLabels(facts: ConnectionFacts, flags: string): readonly string[] {
  return [...partyLabels(facts), "tcp", flags, securityLabel(facts)];
}

type Parties = Pick<RequestRecord, "peer" | "clusterName">;

/** Who reports, who asks, and who is asked. */
function partyLabels({ peer, clusterName }: Parties): readonly string[] {
  const service = clusterName === undefined ? "unknown" : serviceOf(clusterName);
  const [name = service, namespace] = service.endsWith(".svc.cluster.local") ? service.split(".") : [service];
  return ["source", peer.principal ?? "unknown", service, name, namespace ?? "unknown"];
}

/** Out of `outbound|<port>|<subset>|<host>`, or the form that an SNI name can have: `outbound_.<port>_.<subset>_.<host>`. */
function serviceOf(clusterName: string): string {
  const parts = clusterName.split(clusterName.includes("|") ? "|" : "_.");
  return parts[3] ?? clusterName;
}

function securityLabel({ peer }: Parties): string {
  return peer.tls === undefined ? "none" : peer.principal === undefined ? "tls" : "mutual_tls";
}

/** Envoy's and Istio's buckets for times, in milliseconds. */
export const DURATION_BUCKETS_MS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
];
/** The same numbers for sizes, in bytes, as Istio has it, from the first whole one on. */
export const SIZE_BUCKETS_BYTES: readonly number[] = DURATION_BUCKETS_MS.slice(1);

export const REQUESTS_TOTAL: MetricDefinition = {
  name: "istio_requests_total",
  kind: "counter",
  help: "Requests that were answered, or whose client left.",
  labels: REQUEST_LABELS,
};
export const REQUEST_DURATION: MetricDefinition = {
  name: "istio_request_duration_milliseconds",
  kind: "histogram",
  help: "From the head of the request to the end of the response.",
  labels: REQUEST_LABELS,
  buckets: DURATION_BUCKETS_MS,
};
export const REQUEST_BYTES: MetricDefinition = {
  name: "istio_request_bytes",
  kind: "histogram",
  help: "Bytes of request bodies.",
  labels: REQUEST_LABELS,
  buckets: SIZE_BUCKETS_BYTES,
};
export const RESPONSE_BYTES: MetricDefinition = {
  name: "istio_response_bytes",
  kind: "histogram",
  help: "Bytes of response bodies.",
  labels: REQUEST_LABELS,
  buckets: SIZE_BUCKETS_BYTES,
};

export const REQUEST_METRICS: readonly MetricDefinition[] = [REQUESTS_TOTAL, REQUEST_DURATION, REQUEST_BYTES, RESPONSE_BYTES];

function connectionTotal(name: string, help: string): MetricDefinition {
  return { name, kind: "counter", help, labels: CONNECTION_LABELS };
}

export const CONNECTIONS_OPENED = connectionTotal(
  "istio_tcp_connections_opened_total",
  "Opaque connections that clients opened.",
);
export const CONNECTIONS_CLOSED = connectionTotal("istio_tcp_connections_closed_total", "Opaque connections that are over.");
export const CONNECTION_SENT_BYTES = connectionTotal(
  "istio_tcp_sent_bytes_total",
  "Bytes sent to clients on opaque connections.",
);
export const CONNECTION_RECEIVED_BYTES = connectionTotal(
  "istio_tcp_received_bytes_total",
  "Bytes received from clients on opaque connections.",
);

export const CONNECTION_METRICS: readonly MetricDefinition[] = [
  CONNECTIONS_OPENED,
  CONNECTIONS_CLOSED,
  CONNECTION_SENT_BYTES,
  CONNECTION_RECEIVED_BYTES,
];
