/**
 * Where our parser takes what Node's does not, or reads it differently, and why that is right. The fuzzer fails on everything that is not in here.
 */
import type { RequestHead, ResponseHead } from "../../gateway/core/http/message.ts";
import type { Message } from "../wire/transcript.ts";
import { ORACLE_METHODS, type OracleMessage, type OracleReading } from "./llhttp.ts";

export interface Disagreement {
  readonly kind: "request" | "response";
  /** `missing`: it has no such message. */
  readonly aspect: "missing" | "method" | "target" | "status" | "fields" | "keepAlive" | "body" | "ended" | "trailers";
  readonly ours: Message<RequestHead> | Message<ResponseHead>;
  readonly theirs: OracleMessage | undefined;
  readonly reading: OracleReading;
}

export interface Explanation {
  readonly name: string;
  readonly why: string;
  applies(disagreement: Disagreement): boolean;
}

const method = ({ ours }: Disagreement): string => ("method" in ours.event.head ? ours.event.head.method : "");

export const EXPLANATIONS: readonly Explanation[] = [
  {
    name: "method-not-listed",
    why: "RFC 9110 9.1 makes the set of methods open; llhttp knows a fixed list. What to do with an unknown one is for routing to say.",
    applies: (d) =>
      d.kind === "request" &&
      d.aspect === "missing" &&
      d.reading.error === "HPE_INVALID_METHOD" &&
      !ORACLE_METHODS.has(method(d)),
  },
  {
    name: "hand-over",
    why: "After a 101 or a 2xx to CONNECT the connection speaks another protocol, so ours says that it does not live on as HTTP; llhttp looks at the fields alone.",
    applies: (d) => d.kind === "response" && d.aspect === "keepAlive" && !d.ours.event.keepAlive && d.reading.handedOver,
  },
  {
    name: "proxy-and-1.0",
    why: "RFC 9112 9.3: a proxy does not keep a connection with an HTTP/1.0 client, whatever the client asks for. llhttp does not know that the absolute form makes it a proxy.",
    applies: (d) =>
      d.kind === "request" && d.aspect === "keepAlive" && d.ours.event.minor === 0 && d.ours.event.form === "absolute",
  },
];
