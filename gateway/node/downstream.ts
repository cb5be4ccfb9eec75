/** What carries out a request knows of the client: a narrow way back, whatever the client speaks. */
import { type ExchangeEnd, grpcHead, type ReadonlyFieldList, type ResponseHead, type TunnelStep } from "../core/index.ts";

/** The way back to the client of one request. */
export interface Downstream {
  /** The client takes no more of the response for now: `Call.drained` has to say when it does again. */
  readonly isFull: boolean;
  /** Bytes of the response's body that went out. */
  readonly responseBytes: number;
  /** Deadlines of the call have moved to earlier. */
  schedule(): void;
  /** RFC 9110 10.1.1: the client may send the body. */
  goAhead(): void;
  /** What goes on of a 1xx response of the origin. */
  interim(head: ResponseHead): void;
  /** @param close this is the last response of the connection, where such a thing is said */
  head(head: ResponseHead, close: boolean, neverIndexed?: readonly string[]): void;
  /** Part of the body, valid during this call. */
  body(bytes: Uint8Array): void;
  /** The response is whole. @returns whether what is left of the request is going to be told all the same */
  end(trailers: readonly string[] | undefined): boolean;
  /** More of the request's body is wanted. */
  wanted(): void;
  /** Bytes are to be moved, as the connection's own affair from here on: `Call.tunnelFailed` or `Call.tunnelEnded` say what came of it. */
  tunnel(step: TunnelStep): void;
  /** Both messages are over as far as they will be; the call may begin another. */
  over(): void;
  /** The response cannot be made whole, and nobody may take a part for the whole. The call is over. */
  cut(outcome: ExchangeEnd["outcome"]): void;
}

const EMPTY = new Uint8Array(0);

/** An answer in plain words, or in fields for clients of gRPC, made without an exchange. `request`: its fields, as far as they are known. */
export function plainAnswer(
  status: number,
  text: string,
  unixMs: number,
  request: ReadonlyFieldList = [],
): { readonly head: ResponseHead; readonly body: Uint8Array } {
  const grpc = grpcHead(request, status, text);
  if (grpc !== undefined) return { head: grpc, body: EMPTY };
  const body = Buffer.from(`${text}\n`);
  return {
    head: {
      status,
      fields: ["content-type", "text/plain", "date", new Date(unixMs).toUTCString()],
      body: { kind: "length", bytes: body.length },
    },
    body,
  };
}
