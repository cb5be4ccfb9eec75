/** Who uses an upstream connection for one request: told what happens to it, in order, and nothing after its end. */
import type { ErrorCode, ResponseHead } from "../../core/index.ts";
import type { HeadEvent } from "../../wire/index.ts";
import type { UpstreamConnection } from "./connection.ts";

export interface UpstreamUser {
  /** A waiting request has got its connection. Only after `acquire` answered "waiting". */
  connectionReady(connection: UpstreamConnection): void;
  /** A 1xx response. */
  responseInterim(head: ResponseHead): void;
  /** The final response's head. The user may abandon the connection in here. */
  responseHead(event: HeadEvent<ResponseHead>): void;
  /** Bytes of the body. They are gone after the call: copy what has to stay. */
  responseBody(bytes: Uint8Array): void;
  /** Everything that one read brought has been told. Not called after `responseEnd`. */
  responseFlush(): void;
  /** Whole. The connection is no longer the user's. */
  responseEnd(trailers: readonly string[] | undefined): void;
  /** The connection takes more of the request again. */
  requestDrained(): void;
  /** No (whole) response will come. The connection is no longer the user's. */
  upstreamFailed(failure: UpstreamFailure): void;
}

export interface UpstreamFailure {
  readonly code: ErrorCode;
  readonly reason: string;
  /** No byte of the request can have reached the origin. */
  readonly neverSent: boolean;
  /** A kept-alive connection that was closed before any byte of the response: RFC 9112 9.3.1 lets an idempotent request be sent again. */
  readonly stale: boolean;
}
