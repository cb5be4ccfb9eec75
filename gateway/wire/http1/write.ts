/**
 * Messages, from meaning to bytes. Heads are latin1 strings: a runtime writes them as such, one byte a character.
 *
 * Framing fields, Host and Connection are written from what the head means and never from its field list, so no list can contradict
 * them. Nothing leaves that could begin a line of its own: what was parsed is known to be clean, what configuration or rewriting
 * put in may not be, and telling them apart would cost more than looking at all of it.
 */
import { MeshError } from "../../core/error.ts";
import type { BodyKind, ReadonlyFieldList, RequestHead, ResponseHead } from "../../core/http/message.ts";
import { isFieldValue, isToken } from "./chars.ts";
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

/** RFC 9112 3, in origin form (authority form for CONNECT). Always HTTP/1.1; Host comes first (RFC 9110 7.2). */
export function writeRequestHead(head: RequestHead, options: RequestWriteOptions): string {
  const { method, authority, body } = head;
  const target = method === "CONNECT" ? authority : head.target;
  if (!isWritableTarget(target) || !isWritableTarget(authority) || !(USUAL_METHODS.has(method) || isToken(method)))
    throw unwritable("the request line");
  let text = `${method} ${target} HTTP/1.1\r\nhost: ${authority}\r\n${fieldLines(head.fields)}`;
  text += connectionLine(head.fields, options.keepAlive ? "" : "close");
  if (body.kind === "length") return `${text}content-length: ${body.bytes}\r\n\r\n`;
  if (body.kind === "stream") return `${text}transfer-encoding: chunked\r\n\r\n`;
  // RFC 9110 8.6: methods that usually have content say so when there is none.
  return method === "POST" || method === "PUT" || method === "PATCH" ? `${text}content-length: 0\r\n\r\n` : `${text}\r\n`;
}

/** RFC 9112 4. Always HTTP/1.1, whatever the client speaks (RFC 9110 6.2); framing as `responseFraming` says. */
export function writeResponseHead(head: ResponseHead, options: ResponseWriteOptions): string {
  const { status, body } = head;
  const framing = responseFraming(status, body, options);
  let text = statusLine(status) + fieldLines(head.fields);
  if (status >= 200) {
    // RFC 9112 9.3: 1.1 persists unless told otherwise, 1.0 the other way round.
    const persistence = !options.keepAlive || framing === "close" ? "close" : options.minor === 0 ? "keep-alive" : "";
    text += connectionLine(head.fields, persistence);
  } else if (status === 101) text += connectionLine(head.fields, "");
  if (framing === "chunked") return `${text}transfer-encoding: chunked\r\n\r\n`;
  // RFC 9110 8.6: not in 1xx, 204 or a 2xx to CONNECT; for HEAD and 304 the length a GET would have had.
  if (body.kind === "length" && mayHaveLength(status, options.method)) return `${text}content-length: ${body.bytes}\r\n\r\n`;
  if (
    framing === "none" &&
    body.kind === "none" &&
    options.method !== "HEAD" &&
    status !== 304 &&
    mayHaveLength(status, options.method)
  ) {
    return `${text}content-length: 0\r\n\r\n`;
  }
  return `${text}\r\n`;
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

/** Asking a set costs a third of looking at each byte of a name. */
const USUAL_NAMES: ReadonlySet<string> = new Set(KNOWN_NAMES);

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

function fieldLines(fields: ReadonlyFieldList): string {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    if (isFraming(name)) continue;
    if (!isFieldValue(value) || !(USUAL_NAMES.has(name) || isToken(name))) throw unwritable(`field ${JSON.stringify(name)}`);
    // Measured: joining one by one is cheaper than a template.
    // biome-ignore lint/style/useTemplate: see above
    text = text + name + ": " + value + "\r\n";
  }
  return text;
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

function isWritableTarget(target: string): boolean {
  return !/[^\x21-\x7e]|[#\\]/.test(target);
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

const STATUS_LINES: readonly string[] = Array.from(
  { length: 600 },
  (_, status) => `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\n`,
);

function statusLine(status: number): string {
  const line = status >= 100 ? STATUS_LINES[status] : undefined;
  if (line === undefined) throw unwritable("the status");
  return line;
}
