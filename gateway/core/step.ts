/**
 * The seam between meaning and sockets: one request is a machine of steps, and a runtime's driver carries the steps out.
 *
 * The driver calls `start`, does what the returned step says, reports the outcome through the matching method, and does
 * what that returns, until a step is terminal (`respond`, `relay`, `tunnel`, `drop`). Then it calls `finished` exactly once. Nothing here
 * is asynchronous unless a step is `wait`, so the plain path has no promise in it.
 */
import type { ErrorCode } from "./error.ts";
import type { GrpcWebForm } from "./filter/grpc-web.ts";
import type { EndpointHealth } from "./health/cluster-health.ts";
import type { ReadonlyFieldList, RequestHead, ResponseHead } from "./http/message.ts";
import type { ClientTls, ClusterHttp2, ClusterProtocol, ClusterVia, PoolSettings } from "./ir/index.ts";

export interface Exchange {
  start(): Step;
  /** A 1xx of the origin's other than 101 arrived. Answer: what of it goes on to the client. Absent where nothing is ever sent to an origin. */
  interim?(head: ResponseHead, connectionOptions?: readonly string[]): ResponseHead;
  /**
   * The origin's final response head arrived, or its 101 (no other 1xx comes here). Answer: `relay`, `sleep` (before a retry) or `send` (retry now).
   * `connectionOptions`: what its Connection field names, hop-by-hop for this response. `replayable`: the request body, if any, can be sent again
   * from the start; absent: only one that was declared and is small enough.
   */
  responded(head: ResponseHead, connectionOptions?: readonly string[], replayable?: boolean): Step;
  /** The attempt failed before a response head arrived. Answer: `send`, `sleep` or `respond`. */
  failed(failure: AttemptFailure): Step;
  /** The last step's `deadlineMs` passed: a sleep is over, or the attempt or the whole request took too long (the driver has to abandon the attempt). */
  timer(replayable?: boolean): Step;
  /** The promise of a `wait` step has settled (the exchange looks at the outcome itself). */
  resumed(): Step;
  /**
   * Nobody may be there any more: what is counted for this request while it lasts is given back now. It goes on all the same if somebody is, until
   * `finished`. Absent where nothing is ever presumed.
   */
  presumeGone?(): void;
  /** Over, one way or the other; exactly once. Releases what was held, charges what was used, reports. */
  finished(end: ExchangeEnd): void;
}

export type Step = RespondStep | SendStep | RelayStep | SleepStep | WaitStep | TunnelStep | DropStep;

/** Answer from here. Terminal. */
export interface RespondStep {
  readonly kind: "respond";
  readonly head: ResponseHead;
  readonly body: string | Uint8Array;
  /** Close the client connection afterwards (the request body was not read, framing is in doubt, or draining). */
  readonly close: boolean;
}

/** Send this head and the client's body to that endpoint. */
export interface SendStep {
  readonly kind: "send";
  readonly target: UpstreamTarget;
  readonly head: RequestHead;
  /** Monotonic ms at which `timer` is called if no response head has come; undefined: none. */
  readonly deadlineMs: number | undefined;
  /** May need the body again: keep up to the limit and say in AttemptFailure whether that worked. */
  readonly keepBody: boolean;
  /** The request's content is gRPC-Web in this form, and has to become gRPC's; only where the runtime said that it can (Ports). */
  readonly grpcWeb?: GrpcWebForm | undefined;
  /** Ask for this protocol on the connection. The origin may take it (its response is 101: what follows is opaque) or answer as to any request. */
  readonly switchTo?: Upgrade | undefined;
  /** Something is held until the request is over, or somebody waits to be told: it must be known at once when its client has left. */
  readonly isAwaited: boolean;
  /** Copies sent at the same time whose responses nobody reads; only with the first attempt. */
  readonly mirrors: readonly MirrorSend[];
  /** Present when the target or a mirror's is a cluster's gateway (`via`): what each passport has to say besides where the request goes. */
  readonly established?: Established;
}

/** What this gateway has found out about a request, for the gateway that it hands the request on to. */
export interface Established {
  /** By the trusted hops in front. */
  readonly clientAddress: string;
  /** Ids of the quotas that were charged. */
  readonly charged: readonly string[];
  readonly traceparent: string | undefined;
}

/** Protocols that a connection may be switched to. */
export type Upgrade = "websocket";

export interface MirrorSend {
  readonly target: UpstreamTarget;
  readonly head: RequestHead;
}

/** Pass the origin's response on with this head. Terminal. Body bytes and trailers follow as they come, until `deadlineMs`. */
export interface RelayStep {
  readonly kind: "relay";
  readonly head: ResponseHead;
  readonly deadlineMs: number | undefined;
  /** Something is held until the content has ended, or judged by how it ends: `finished` must not be called before. */
  readonly isAwaited: boolean;
  /** The content is gRPC's and has to become gRPC-Web in this form: with the trailers at its end, which do not travel as such. */
  readonly grpcWeb?: GrpcWebForm | undefined;
}

export interface SleepStep {
  readonly kind: "sleep";
  readonly deadlineMs: number;
}

export interface WaitStep {
  readonly kind: "wait";
  readonly until: Promise<void>;
  readonly deadlineMs: number | undefined;
}

/**
 * CONNECT was allowed: dial (one connection of its own, never from a pool), answer 200, then move bytes both ways after `inspect` has agreed to the
 * first ones. Terminal once dialled; when the dial fails, `failed` is called and its step (`respond`, or `tunnel` to another address) is carried out.
 */
export interface TunnelStep {
  readonly kind: "tunnel";
  readonly target: UpstreamTarget;
  readonly head: ResponseHead;
  /** Nothing is looked at: bytes move both ways at once (the origin may speak first) and `inspect` is never called. */
  readonly opaque?: boolean;
  /** Called with all of the client's bytes so far, each time more have come, until it answers; `deny` closes the tunnel before anything was forwarded. */
  inspect(bytes: Uint8Array): TunnelVerdict;
  /** Monotonic ms by which `inspect` must have agreed; the tunnel is closed then. Undefined: none. */
  readonly inspectDeadlineMs?: number | undefined;
}
export type TunnelVerdict =
  | { readonly kind: "more" }
  | { readonly kind: "allow" }
  /** `farewell`: bytes for the client before its connection is closed (a TLS alert), so that it can say why. */
  | { readonly kind: "deny"; readonly reason: string; readonly farewell?: Uint8Array };

/** Close the client connection without an answer. Terminal. */
export interface DropStep {
  readonly kind: "drop";
  readonly code: ErrorCode;
}

export interface UpstreamTarget {
  readonly endpoint: UpstreamEndpoint;
  readonly pool: PoolSettings;
  readonly tls: ClientTls | undefined;
  /** The endpoint is the gateway of a cluster that has the service: requests carry a passport, and go the way that this says. */
  readonly via?: ClusterVia;
  /** Absent: `http1`. A runtime that leaves the choice to its platform does not look. */
  readonly protocol?: ClusterProtocol | undefined;
  readonly http2?: ClusterHttp2 | undefined;
  /** Connections begin with a PROXY protocol header of this version that tells their client's addresses, and carry nothing of other clients. */
  readonly proxyProtocol?: "v1" | "v2" | undefined;
}

/** One address of one cluster as the data plane keeps it: outlives snapshots as long as its key stays. */
export interface UpstreamEndpoint {
  /** `<cluster>|<address>|<port>`: identity across snapshots. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** In the snapshot that brought the endpoint; later ones may weigh it otherwise, which the balancers know. */
  readonly weight: number;
  /** Requests in flight to it; kept by the exchange. */
  active: number;
  /** The runtime's own (its connection pool); core never looks. */
  runtime: unknown;
  /** The name that `address` was resolved from: what TLS asks for where nobody says otherwise. Absent: `address` is as configured. */
  readonly hostname?: string | undefined;
  /** `address:port`, made when it is first told. */
  label?: string;
  /** Kept by its cluster's health. Absent: nothing is known against it. */
  health?: EndpointHealth | undefined;
}

export interface AttemptFailure {
  readonly code: ErrorCode;
  readonly reason: string;
  /** No byte of this attempt can have reached the origin's application (never connected, or a reused connection was closed before anything came back and nothing was sent). */
  readonly neverSent: boolean;
  /** The request body, if any, can be sent again from the start. */
  readonly replayable: boolean;
}

export interface ExchangeEnd {
  /** `complete`: both messages ended as they should. */
  readonly outcome: "complete" | "client_gone" | "upstream_cut" | "timeout" | "protocol_error";
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Of the response, as the origin sent them. A gRPC status in them is told, and final: once a response has begun nothing is tried again. */
  readonly trailers?: ReadonlyFieldList | undefined;
}
