/**
 * Messages, from meaning to bytes, one byte a character.
 *
 * Framing fields, Host and Connection are written from what the head means and never from its field list, so no list can contradict
 * them. Nothing leaves that could begin a line of its own: what was parsed is known to be clean, what configuration or rewriting
 * put in may not be, and telling them apart would cost more than looking at all of it. It is looked at where it was written, as the bytes that
 * leave: so no character can turn into a control character on the way.
 */
import { MeshError } from "../../core/error.ts";
import type { BodyKind, ReadonlyFieldList, RequestHead, ResponseHead } from "../../core/http/message.ts";
import { COLON, CR, decodeLatin1, encodeLatin1, isToken, type Latin1Encoder, LF, SP, TARGET, VALUE } from "./chars.ts";
import { KNOWN_NAMES } from "./names.ts";

export interface RequestWriteOptions {
  /** Keep the connection after this message; else `Connection: close` is sent. */
  readonly keepAlive: boolean;
}

export interface ResponseWriteOptions {
  readonly keepAlive: boolean;
  /** Method of the request that is answered. */
  readonly method: string;
  /** HTTP minor version of the request that is answered. */
  readonly minor: 0 | 1;
}

/** How content goes over the wire. `close`: it ends with the connection, for clients that know no chunks. */
export type WireFraming = "none" | "length" | "chunked" | "close";

/** How the content of this answer has to be sent (RFC 9112 6). `none` also for what has a length but no content: HEAD, 304. */
export function responseFraming(
  status: number,
  body: BodyKind,
  options: { readonly method: string; readonly minor: 0 | 1 },
): WireFraming {
  if (status < 200 || status === 204 || status === 304 || options.method === "HEAD") return "none";
  if (options.method === "CONNECT" && status < 300) return "none";
  if (body.kind === "stream") return options.minor === 1 ? "chunked" : "close";
  return body.kind;
}

/** As many bytes as a head can come to. */
export function headBound(head: RequestHead | ResponseHead): number {
  const { fields } = head;
  let bytes = FIXED_BYTES;
  if ("method" in head) bytes += head.method.length + head.target.length + 2 * head.authority.length;
  for (let i = 0; i < fields.length; i++) bytes += (fields[i] as string).length + PART_BYTES;
  return bytes;
}

/**
 * RFC 9112 3, in origin form (authority form for CONNECT). Always HTTP/1.1; Host comes first (RFC 9110 7.2).
 *
 * @param into has room for `headBound` bytes from `at` on
 * @returns where the head ends
 * @throws MeshError when it holds something that must not be sent; what was written until then is of no use
 */
export function encodeRequestHead(
  head: RequestHead,
  options: RequestWriteOptions,
  into: Uint8Array,
  start: number,
  latin1: Latin1Encoder,
): number {
  const { method, authority, body, fields } = head;
  const target = method === "CONNECT" ? authority : head.target;
  if (!(USUAL_METHODS.has(method) || isToken(method))) throw unwritable("the request line");
  let at = start + latin1(into, method, start);
  into[at++] = SP;
  const targetAt = at;
  at += latin1(into, target, at);
  if (!consistsOf(TARGET, into, targetAt, at)) throw unwritable("the request line");
  at = put(VERSION_AND_HOST, into, at);
  const authorityAt = at;
  at += latin1(into, authority, at);
  if (!consistsOf(TARGET, into, authorityAt, at)) throw unwritable("the request line");
  into[at++] = CR;
  into[at++] = LF;
  at = putFields(fields, into, at, latin1);
  at += latin1(into, connectionLine(fields, options.keepAlive ? "" : "close"), at);
  if (body.kind === "length") at = putLength(body.bytes, into, at, latin1);
  else if (body.kind === "stream") at = put(CHUNKED_LINE, into, at);
  // RFC 9110 8.6: methods that usually have content say so when there is none.
  else if (method === "POST" || method === "PUT" || method === "PATCH") at = put(NO_LENGTH_LINE, into, at);
  into[at++] = CR;
  into[at++] = LF;
  return at;
}

/** RFC 9112 4. Always HTTP/1.1, whatever the client speaks (RFC 9110 6.2); framing as `responseFraming` says. Otherwise as `encodeRequestHead`. */
export function encodeResponseHead(
  head: ResponseHead,
  options: ResponseWriteOptions,
  into: Uint8Array,
  start: number,
  latin1: Latin1Encoder,
): number {
  const { status, body, fields } = head;
  const framing = responseFraming(status, body, options);
  let at = putFields(fields, into, put(statusLine(status), into, start), latin1);
  if (status >= 200) {
    // RFC 9112 9.3: 1.1 persists unless told otherwise, 1.0 the other way round.
    const persistence = !options.keepAlive || framing === "close" ? "close" : options.minor === 0 ? "keep-alive" : "";
    at += latin1(into, connectionLine(fields, persistence), at);
  } else if (status === 101) at += latin1(into, connectionLine(fields, ""), at);
  if (framing === "chunked") at = put(CHUNKED_LINE, into, at);
  // RFC 9110 8.6: not in 1xx, 204 or a 2xx to CONNECT; for HEAD and 304 the length a GET would have had.
  else if (mayHaveLength(status, options.method)) {
    if (body.kind === "length") at = putLength(body.bytes, into, at, latin1);
    else if (framing === "none" && body.kind === "none" && options.method !== "HEAD" && status !== 304)
      at = put(NO_LENGTH_LINE, into, at);
  }
  into[at++] = CR;
  into[at++] = LF;
  return at;
}

/** `encodeRequestHead` as text. */
export function writeRequestHead(head: RequestHead, options: RequestWriteOptions): string {
  const bytes = new Uint8Array(headBound(head));
  return decodeLatin1(bytes, 0, encodeRequestHead(head, options, bytes, 0, encodeLatin1));
}

/** `encodeResponseHead` as text. */
export function writeResponseHead(head: ResponseHead, options: ResponseWriteOptions): string {
  const bytes = new Uint8Array(headBound(head));
  return decodeLatin1(bytes, 0, encodeResponseHead(head, options, bytes, 0, encodeLatin1));
}

/** RFC 9112 7.1: what goes before a chunk of `bytes` bytes (more than 0); CRLF follows it. */
export function chunkHeader(bytes: number): string {
  return `${bytes.toString(16)}\r\n`;
}

export const CHUNK_END = "\r\n";

/** RFC 9112 7.1: the last chunk, the trailer section, the end. */
export function lastChunk(trailers: ReadonlyFieldList | undefined): string {
  return trailers === undefined ? "0\r\n\r\n" : `0\r\n${fieldLines(trailers)}\r\n`;
}

/** RFC 9110 10.1.1: the go-ahead for a request that expects it. */
export const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

const USUAL_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"]);

/** `name: ` of the usual names. */
const USUAL_NAMES: ReadonlyMap<string, Uint8Array> = new Map(KNOWN_NAMES.map((name) => [name, ascii(`${name}: `)]));

/** Beside names and values: the first line without what varies, Connection without what fields add to it, Content-Length. */
const FIXED_BYTES = 256;
/** Around a name or a value; a name may stand in Connection as well. */
const PART_BYTES = 8;
/** Around a name or a value of a trailer. */
const SEPARATOR_BYTES = 2;
const VERSION_AND_HOST = ascii(" HTTP/1.1\r\nhost: ");
const CHUNKED_LINE = ascii("transfer-encoding: chunked\r\n");
const LENGTH_NAME = ascii("content-length: ");
const NO_LENGTH_LINE = ascii("content-length: 0\r\n");

function mayHaveLength(status: number, method: string): boolean {
  return status >= 200 && status !== 204 && !(method === "CONNECT" && status < 300);
}

/** RFC 9110 7.6.1, 7.8, 10.1.4: fields that are for the next hop alone are named in Connection. */
function connectionLine(fields: ReadonlyFieldList, persistence: "" | "close" | "keep-alive"): string {
  let options: string = persistence;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (name === "te" || name === "upgrade") options = options === "" ? name : `${options}, ${name}`;
  }
  return options === "" ? "" : `connection: ${options}\r\n`;
}

/** @returns where they end */
function putFields(fields: ReadonlyFieldList, into: Uint8Array, start: number, latin1: Latin1Encoder): number {
  let at = start;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (isFraming(name)) continue;
    const usual = USUAL_NAMES.get(name);
    if (usual !== undefined) at = put(usual, into, at);
    else {
      if (!isToken(name)) throw unwritable(`field ${JSON.stringify(name)}`);
      at += latin1(into, name, at);
      into[at++] = COLON;
      into[at++] = SP;
    }
    const valueAt = at;
    at += latin1(into, fields[i + 1] as string, at);
    if (!consistsOf(VALUE, into, valueAt, at)) throw unwritable(`field ${JSON.stringify(name)}`);
    into[at++] = CR;
    into[at++] = LF;
  }
  return at;
}

function putLength(length: number, into: Uint8Array, at: number, latin1: Latin1Encoder): number {
  const from = put(LENGTH_NAME, into, at);
  const end = from + latin1(into, String(length), from);
  into[end] = CR;
  into[end + 1] = LF;
  return end + 2;
}

/** Short enough that a loop is cheaper than a call. @returns where it ends */
function put(bytes: Uint8Array, into: Uint8Array, at: number): number {
  for (let i = 0; i < bytes.length; i++) into[at + i] = bytes[i] as number;
  return at + bytes.length;
}

function consistsOf(allowed: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (allowed[bytes[i] as number] === 0) return false;
  return true;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** Trailers: few, and in no hurry. */
function fieldLines(fields: ReadonlyFieldList): string {
  let bytes = 0;
  for (const part of fields) bytes += part.length + SEPARATOR_BYTES;
  const into = new Uint8Array(bytes);
  return decodeLatin1(into, 0, putFields(fields, into, 0, encodeLatin1));
}

/** Fields that are written from the head's meaning. */
function isFraming(name: string): boolean {
  switch (name.length) {
    case 4:
      return name === "host";
    case 10:
      return name === "connection";
    case 14:
      return name === "content-length";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

function unwritable(what: string): MeshError {
  return new MeshError("internal", "local", `${what} holds a byte that must not be sent`);
}

const REASONS: Readonly<Record<number, string>> = {
  100: "Continue",
  101: "Switching Protocols",
  102: "Processing",
  103: "Early Hints",
  200: "OK",
  201: "Created",
  202: "Accepted",
  203: "Non-Authoritative Information",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  418: "I'm a teapot",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  423: "Locked",
  424: "Failed Dependency",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  507: "Insufficient Storage",
  508: "Loop Detected",
  511: "Network Authentication Required",
};

const STATUS_LINES: readonly Uint8Array[] = Array.from({ length: 600 }, (_, status) =>
  ascii(`HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\n`),
);

function statusLine(status: number): Uint8Array {
  const line = status >= 100 ? STATUS_LINES[status] : undefined;
  if (line === undefined) throw unwritable("the status");
  return line;
}
