/**
 * Core: what a request means. Given tables compiled from a verified snapshot, it decides where each request goes, what is changed, refused, repeated,
 * and what the client hears; runtimes carry that out.
 *
 * Invariant: the same tables, request, clock and dice give the same steps, on every runtime. A request is held against one snapshot from start to end.
 * Never: I/O, timers, a runtime's names, the wall clock for anything but calendars and dates; parsing or building anything per request that
 * could have been compiled.
 *
 * How a runtime drives it:
 * 1. `compile(snapshot, version, tables)` beside the traffic; on success one assignment swaps the tables.
 * 2. Per connection: the listener by name; `findHost(listener.servers, sni)` for TLS, `listener.servers.any` without. Per request, out of the tables in
 *    force at that moment: `createExchange(tables, listener, server, headEvent, peer, ports)`.
 * 3. `start()`, then steps as step.ts says, `finished()` exactly once. The fields of a step's head belong to the driver.
 *    - `respond`: an unread request body with `close: false` is to be read and thrown away; a HEAD answer has its length in the head and no body.
 *    - `Expect` goes upstream as it came; whether the driver says 100 itself or waits for the origin's is its own affair.
 */
export type { NameAnswer, Names } from "./balance/members.ts";
export { type CompileOptions, compile } from "./compile/compile.ts";
export type { CompiledListener, CompiledServer, Tables } from "./compile/tables.ts";
export {
  type ConnectionEnd,
  type ConnectionExchange,
  type ConnectionPorts,
  type ConnectionStep,
  createConnection,
  type DialStep,
  type IncomingConnection,
  MAX_CONNECT_ATTEMPTS,
} from "./connection.ts";
export * from "./egress/index.ts";
export { type Culprit, type ErrorCode, MeshError } from "./error.ts";
export { explain } from "./explain/explain.ts";
export type {
  ExplainedDestination,
  ExplainedOutcome,
  ExplainedQuota,
  ExplainRequest,
  Explanation,
  TriedMatch,
} from "./explain/explanation.ts";
export type { GrpcWebForm } from "./filter/grpc-web.ts";
export { QuotaFilter, type QuotaFilterPorts, type QuotaVerdict } from "./filter/quota.ts";
export type { HealthChange, HealthListener } from "./health/cluster-health.ts";
export type { EjectionReason, EndpointState, HealthEvent } from "./health/endpoint.ts";
export { applyHealth, type EndpointView, endpointViews, refreshHealth } from "./health/in-force.ts";
export { parseAuthority, sameAuthority } from "./http/authority.ts";
export { connectionOptionsOf } from "./http/hop-by-hop.ts";
export {
  type BodyKind,
  type FieldList,
  field,
  fieldJoined,
  type HttpVersion,
  NO_BODY,
  type ReadonlyFieldList,
  type RequestHead,
  type ResponseHead,
  type Scheme,
  STREAM_BODY,
} from "./http/message.ts";
export { httpDate } from "./http/response-fields.ts";
export { findHost, hostOf } from "./match/host.ts";
export { carriesPassport, createPassportExchange } from "./passport-exchange.ts";
export type {
  Clock,
  ConnectionFacts,
  ConnectionRecord,
  ConnectionReporter,
  LocalBank,
  PeerInfo,
  Ports,
  QuotaAnswer,
  QuotaBank,
  QuotaCharge,
  Random,
  Reporter,
  RequestRecord,
} from "./ports.ts";
export { createExchange, type IncomingRequest } from "./proxy.ts";
export * from "./quota/index.ts";
export { grpcHead, respondError } from "./respond.ts";
export type {
  AttemptFailure,
  DropStep,
  Established,
  Exchange,
  ExchangeEnd,
  MirrorSend,
  RelayStep,
  RespondStep,
  SendStep,
  SleepStep,
  Step,
  TunnelStep,
  TunnelVerdict,
  Upgrade,
  UpstreamEndpoint,
  UpstreamTarget,
  WaitStep,
} from "./step.ts";
export { accessLogLine, asciiJson, connectionLogLine, type LogOutput, writeAccessLog } from "./telemetry/access-log.ts";
export { RESPONSE_FLAGS, type ResponseFlag } from "./telemetry/flags.ts";
export {
  CONNECTION_METRICS,
  CONNECTION_RECEIVED_BYTES,
  CONNECTION_SENT_BYTES,
  CONNECTIONS_CLOSED,
  CONNECTIONS_OPENED,
  connectionLabels,
  DURATION_BUCKETS_MS,
  type MetricDefinition,
  REQUEST_BYTES,
  REQUEST_DURATION,
  REQUEST_LABELS,
  REQUEST_METRICS,
  REQUESTS_TOTAL,
  RESPONSE_BYTES,
  requestLabels,
  SIZE_BUCKETS_BYTES,
} from "./telemetry/metrics.ts";
export * from "./tunnel/index.ts";
