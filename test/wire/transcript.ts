/**
 * What a parser told about some bytes, in a form that does not show how they were split: bodies joined, one record per message.
 */
import type { RequestHead, ResponseHead } from "../../gateway/core/http/message.ts";
import type { HeadEvent, ParserEvent, RequestParser, ResponseParser } from "../../gateway/wire/index.ts";

export interface Message<Head> {
  readonly event: HeadEvent<Head>;
  body: string;
  trailers: readonly string[] | undefined;
  ended: boolean;
}

export interface Transcript<Head> {
  readonly messages: Message<Head>[];
  /** Error code, or `need` when the parser waits for more. */
  outcome: string;
  /** What the parser had not read when it was asked to give back the rest. */
  rest: string;
}

export type RequestTranscript = Transcript<RequestHead>;
export type ResponseTranscript = Transcript<ResponseHead>;

interface Parser<Head> {
  feed(bytes: Uint8Array): void;
  next(): ParserEvent<Head>;
  eof(): ParserEvent<Head>;
  rest(): Uint8Array;
}

/** `stopAfterEnd`: the parser is not asked again after an end for which it says true, as a caller does that hands the connection over. */
function transcribe<Head>(
  parser: Parser<Head>,
  chunks: Iterable<Uint8Array>,
  ended: () => void,
  stopAfterEnd: (event: HeadEvent<Head>) => boolean,
  eof: boolean,
): Transcript<Head> {
  const transcript: Transcript<Head> = { messages: [], outcome: "need", rest: "" };
  let current: Message<Head> | undefined;
  let stopped = false;
  const take = (event: ParserEvent<Head>): boolean => {
    switch (event.kind) {
      case "need":
        transcript.outcome = "need";
        return false;
      case "error":
        transcript.outcome = event.error.code;
        return false;
      case "head":
        current = { event, body: "", trailers: undefined, ended: false };
        transcript.messages.push(current);
        return true;
      case "body":
        if (current === undefined || event.bytes.length === 0) throw new Error("body without head, or empty");
        current.body += Buffer.from(event.bytes).toString("latin1");
        return true;
      case "end":
        if (current === undefined) throw new Error("end without head");
        current.trailers = event.trailers;
        current.ended = true;
        ended();
        stopped = stopAfterEnd(current.event);
        return !stopped;
    }
  };
  for (const chunk of chunks) {
    parser.feed(chunk);
    while (!stopped && take(parser.next()));
  }
  if (eof && !stopped) take(parser.eof());
  transcript.rest = Buffer.from(parser.rest()).toString("latin1");
  return transcript;
}

export function transcribeRequests(parser: RequestParser, chunks: Iterable<Uint8Array>, eof = false): RequestTranscript {
  return transcribe(
    parser,
    chunks,
    () => {},
    ({ head }) => head.method === "CONNECT",
    eof,
  );
}

/** `method`: what each of the responses answers. */
export function transcribeResponses(
  parser: ResponseParser,
  chunks: Iterable<Uint8Array>,
  method = "GET",
  eof = false,
): ResponseTranscript {
  parser.expect(method);
  return transcribe(
    parser,
    chunks,
    () => parser.expect(method),
    ({ head }) => head.status === 101 || (method === "CONNECT" && head.status < 300),
    eof,
  );
}

/** One line per request, for tables. */
export function requestLines({ messages, outcome, rest }: RequestTranscript): string[] {
  const lines = messages.map(({ event, body, trailers, ended }) => {
    const { head, form, keepAlive, connectionOptions, expectContinue, takesTrailers, upgrade } = event;
    return words(
      `${head.method} ${form} ${head.scheme}://${head.authority} ${head.target}`,
      head.fields,
      [
        keepAlive ? "" : "close",
        connectionOptions && `options=${connectionOptions}`,
        expectContinue ? "expects" : "",
        takesTrailers === true ? "takes-trailers" : "",
        upgrade && `upgrade=${upgrade}`,
      ],
      head.body.kind === "none" && body === "" ? "" : content(head.body.kind, body),
      trailers,
      ended,
    );
  });
  return [...lines, ...tail(outcome, rest)];
}

/** One line per response, for tables. */
export function responseLines({ messages, outcome, rest }: ResponseTranscript): string[] {
  const lines = messages.map(({ event, body, trailers, ended }) => {
    const { head, keepAlive, connectionOptions, upgrade } = event;
    return words(
      `${head.status}`,
      head.fields,
      [keepAlive ? "" : "close", connectionOptions && `options=${connectionOptions}`, upgrade && `upgrade=${upgrade}`],
      head.body.kind === "none" && body === ""
        ? ""
        : content(head.body.kind === "length" ? `${head.body.bytes}` : head.body.kind, body),
      trailers,
      ended,
    );
  });
  return [...lines, ...tail(outcome, rest)];
}

function words(
  start: string,
  fields: readonly string[],
  marks: readonly (string | undefined)[],
  body: string,
  trailers: readonly string[] | undefined,
  ended: boolean,
): string {
  return [start, pairs(fields), ...marks, body, trailers === undefined ? "" : `trailers(${pairs(trailers)})`, ended ? "" : "…"]
    .filter((word) => word !== "" && word !== undefined)
    .join(" ");
}

function content(kind: string, body: string): string {
  return `${kind}(${body})`;
}

function pairs(fields: readonly string[]): string {
  const parts: string[] = [];
  for (let i = 0; i < fields.length; i += 2) parts.push(`${fields[i]}=${fields[i + 1]}`);
  return parts.join(" ");
}

function tail(outcome: string, rest: string): string[] {
  return [...(outcome === "need" ? [] : [`! ${outcome}`]), ...(rest === "" ? [] : [`rest ${JSON.stringify(rest)}`])];
}

/** Every way to cut `bytes` in two, then byte by byte. */
export function* splits(bytes: Uint8Array): Generator<Uint8Array[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.slice(0, at), bytes.slice(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

/** `fields` without those of one name. */
export function without(name: string, fields: readonly string[]): string[] {
  return fields.filter((_, i) => fields[i - (i % 2)] !== name);
}
