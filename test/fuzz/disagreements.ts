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
  readonly input: string;
}

export interface Explanation {
  readonly name: string;
  readonly why: string;
  applies(disagreement: Disagreement): boolean;
}

const method = ({ ours }: Disagreement): string => ("method" in ours.event.head ? ours.event.head.method : "");

const GAVE_UP_IN_CHUNK = new Set(["HPE_STRICT", "HPE_INVALID_CHUNK_SIZE"]);

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
  {
    name: "white-space-in-chunk-extensions",
    why: "RFC 9112 7.1.1 has a recipient parse white space around `;` and `=` and drop it, as ours does with the whole extension; llhttp refuses it.",
    applies: (d) =>
      (d.reading.handedOver || GAVE_UP_IN_CHUNK.has(d.reading.error ?? "")) &&
      /[0-9a-f]([ \t]+;|[ \t]*;[^\r\n]*[ \t])/i.test(d.input),
  },
  {
    name: "framing-fields-in-trailers",
    why: "RFC 9110 6.5.1: such fields mean nothing after the content. Ours drops them unread, so nobody behind it can be misled; llhttp still reads them as framing, or as the end of the connection, and may give up.",
    applies: (d) =>
      /HPE_((INVALID|UNEXPECTED)_(CONTENT_LENGTH|TRANSFER_ENCODING)|CLOSED_CONNECTION)/.test(d.reading.error ?? "") &&
      /\n0+(;[^\n]*)?\n(.*\n)*?(content-length|transfer-encoding|connection):/i.test(d.input.replaceAll("\r\n", "\n")),
  },
  {
    name: "answer-to-head",
    why: "An answer to HEAD has no content, whatever its fields say (RFC 9112 6.3), so nothing in it ends with the connection. llhttp decides on keep-alive before it is told about HEAD.",
    applies: (d) =>
      d.kind === "response" && d.aspect === "keepAlive" && d.ours.event.keepAlive && d.ours.event.head.body.kind === "none",
  },
  {
    name: "close-and-keep-alive",
    why: "RFC 9112 9.3 looks for `close` first: with both options the connection ends. llhttp lets keep-alive win in HTTP/1.0.",
    applies: (d) => {
      const options = d.ours.event.connectionOptions ?? [];
      return d.aspect === "keepAlive" && !d.ours.event.keepAlive && options.includes("close") && options.includes("keep-alive");
    },
  },
  {
    name: "tab-after-chunked",
    why: "RFC 9110 5.5: white space around a value, tabs included, is not part of it. llhttp takes `chunked` with a tab behind it for another coding.",
    applies: (d) => /transfer-encoding:[ \t]*chunked *\t/i.test(d.input),
  },
  {
    name: "close-in-interim-response",
    why: "The final response still comes after an interim one that says `close`, and ends the connection (RFC 9112 9.6). llhttp refuses it, or forgets the close.",
    applies: (d) =>
      d.kind === "response" &&
      (d.reading.error === "HPE_CLOSED_CONNECTION" || d.aspect === "keepAlive") &&
      /HTTP\/1\.[01] 1\d\d/.test(d.input),
  },
];
