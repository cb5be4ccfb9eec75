/**
 * Frames. A message of the transport is one frame: type (1 byte), stream (4 bytes, big-endian; 0: the connection), payload.
 *
 * | type | payload |
 * |---|---|
 * | 1 OPEN | a request's head, JSON: method, scheme, authority, target, fields, body |
 * | 2 HEAD | the response's head, JSON: status, fields, body |
 * | 3 DATA | bytes of the body, at least one |
 * | 4 END | none: the body is whole |
 * | 5 RESET | code (1 byte), reason (UTF-8) |
 * | 6 WINDOW | bytes that the reader has room for besides (4 bytes) |
 * | 7 PING, 8 PONG | number (4 bytes), of the connection |
 * | 9 GOAWAY | none, of the connection: its sender opens (or wants to be opened) no more streams |
 *
 * In a head, `body` is null for none, a number of bytes, or "stream". Trailers are not carried: neither `fetch` at the edge has them.
 */
import { type BodyKind, NO_BODY, type RequestHead, type ResponseHead, STREAM_BODY } from "../http/message.ts";
import { fail, ok, type Result } from "../result.ts";
import { MAX_TUNNEL_DATA_BYTES, MAX_TUNNEL_FIELDS, MAX_TUNNEL_HEAD_BYTES, MAX_TUNNEL_REASON_CHARS } from "./limits.ts";

export type TunnelFrame =
  | { readonly kind: "open"; readonly stream: number; readonly head: RequestHead }
  | { readonly kind: "head"; readonly stream: number; readonly head: ResponseHead }
  | { readonly kind: "data"; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly stream: number }
  | { readonly kind: "reset"; readonly stream: number; readonly code: ResetCode; readonly reason: string }
  | { readonly kind: "window"; readonly stream: number; readonly bytes: number }
  | { readonly kind: "ping" | "pong"; readonly number: number }
  | { readonly kind: "goaway" };

export type ResetCode =
  /** No byte of the request has gone any further: it may be sent again. */
  | "refused"
  /** The sender has lost interest. */
  | "cancelled"
  /** What the message was taken from, or given to, has failed. */
  | "broken";

const TYPES = { open: 1, head: 2, data: 3, end: 4, reset: 5, window: 6, ping: 7, pong: 8, goaway: 9 } as const;
const RESET_CODES: readonly ResetCode[] = ["refused", "cancelled", "broken"];
const HEADER_BYTES = 5;

/** @throws RangeError for a head or data that no frame may hold: whoever makes frames keeps the limits */
export function encodeFrame(frame: TunnelFrame): Uint8Array<ArrayBuffer> {
  switch (frame.kind) {
    case "open":
    case "head":
      return withPayload(frame.kind, frame.stream, headBytes(frame));
    case "data":
      if (frame.bytes.length === 0 || frame.bytes.length > MAX_TUNNEL_DATA_BYTES)
        throw new RangeError(`${frame.bytes.length} bytes are no DATA frame's`);
      return withPayload("data", frame.stream, frame.bytes);
    case "end":
      return withPayload("end", frame.stream, NOTHING);
    case "reset": {
      const reason = ENCODER.encode(frame.reason.slice(0, MAX_TUNNEL_REASON_CHARS));
      const payload = new Uint8Array(1 + reason.length);
      payload[0] = RESET_CODES.indexOf(frame.code) + 1;
      payload.set(reason, 1);
      return withPayload("reset", frame.stream, payload);
    }
    case "window":
      return withPayload("window", frame.stream, uint32(frame.bytes));
    case "ping":
    case "pong":
      return withPayload(frame.kind, 0, uint32(frame.number));
    case "goaway":
      return withPayload("goaway", 0, NOTHING);
  }
}

/** @returns the frame, whose data is a view of `message`, or what is wrong with it in one sentence */
export function decodeFrame(message: Uint8Array): Result<TunnelFrame, string> {
  if (message.length < HEADER_BYTES) return fail(`a frame of ${message.length} bytes has no header`);
  const stream = readUint32(message, 1);
  const payload = message.subarray(HEADER_BYTES);
  const type = message[0];
  const isConnection = type === TYPES.ping || type === TYPES.pong || type === TYPES.goaway;
  if (stream === 0 ? !isConnection && type !== TYPES.window : isConnection)
    return fail(`a frame of type ${type} does not belong to ${stream === 0 ? "the connection" : "a stream"}`);
  switch (type) {
    case TYPES.open:
      return decodeHead(payload, readRequestHead, (head) => ({ kind: "open", stream, head }));
    case TYPES.head:
      return decodeHead(payload, readResponseHead, (head) => ({ kind: "head", stream, head }));
    case TYPES.data:
      if (payload.length === 0 || payload.length > MAX_TUNNEL_DATA_BYTES)
        return fail(`a DATA frame has from 1 to ${MAX_TUNNEL_DATA_BYTES} bytes, not ${payload.length}`);
      return ok({ kind: "data", stream, bytes: payload });
    case TYPES.end:
      return payload.length === 0 ? ok({ kind: "end", stream }) : fail("an END frame has no payload");
    case TYPES.reset:
      return decodeReset(stream, payload);
    case TYPES.window: {
      const bytes = payload.length === 4 ? readUint32(payload, 0) : 0;
      return bytes === 0 ? fail("a WINDOW frame has a number above 0 as its payload") : ok({ kind: "window", stream, bytes });
    }
    case TYPES.ping:
    case TYPES.pong:
      if (payload.length !== 4) return fail("a PING or PONG frame has a number as its payload");
      return ok({ kind: type === TYPES.ping ? "ping" : "pong", number: readUint32(payload, 0) });
    case TYPES.goaway:
      return payload.length === 0 ? ok({ kind: "goaway" }) : fail("a GOAWAY frame has no payload");
    default:
      return fail(`there is no frame of type ${type}`);
  }
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const NOTHING = new Uint8Array(0);

function withPayload(kind: TunnelFrame["kind"], stream: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  bytes[0] = TYPES[kind];
  bytes.set(uint32(stream), 1);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

function headBytes(frame: Extract<TunnelFrame, { readonly kind: "open" | "head" }>): Uint8Array {
  const bytes = ENCODER.encode(JSON.stringify({ ...frame.head, body: bodyWord(frame.head.body) }));
  if (bytes.length > MAX_TUNNEL_HEAD_BYTES || frame.head.fields.length > 2 * MAX_TUNNEL_FIELDS)
    throw new RangeError(`a head of ${bytes.length} bytes and ${frame.head.fields.length / 2} fields fits no frame`);
  return bytes;
}

function bodyWord(body: BodyKind): number | "stream" | null {
  return body.kind === "length" ? body.bytes : body.kind === "none" ? null : "stream";
}

function decodeHead<Head>(
  payload: Uint8Array,
  read: (value: Readonly<Record<string, unknown>>) => Head | undefined,
  frame: (head: Head) => TunnelFrame,
): Result<TunnelFrame, string> {
  if (payload.length > MAX_TUNNEL_HEAD_BYTES) return fail(`a head has at most ${MAX_TUNNEL_HEAD_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(DECODER.decode(payload));
  } catch {
    return fail("a head is JSON in UTF-8");
  }
  const head = typeof value === "object" && value !== null ? read(value as Readonly<Record<string, unknown>>) : undefined;
  return head === undefined ? fail("a head lacks something, or has it in another form") : ok(frame(head));
}

function readRequestHead(value: Readonly<Record<string, unknown>>): RequestHead | undefined {
  const { method, scheme, authority, target } = value;
  const body = readBody(value["body"]);
  if (typeof method !== "string" || typeof authority !== "string" || typeof target !== "string") return undefined;
  if ((scheme !== "http" && scheme !== "https") || !isFieldList(value["fields"]) || body === undefined) return undefined;
  return { method, scheme, authority, target, fields: value["fields"], body };
}

function readResponseHead(value: Readonly<Record<string, unknown>>): ResponseHead | undefined {
  const { status } = value;
  const body = readBody(value["body"]);
  if (typeof status !== "number" || !Number.isInteger(status) || status < 200 || status > 599) return undefined;
  return isFieldList(value["fields"]) && body !== undefined ? { status, fields: value["fields"], body } : undefined;
}

function readBody(word: unknown): BodyKind | undefined {
  if (word === null) return NO_BODY;
  if (word === "stream") return STREAM_BODY;
  return typeof word === "number" && Number.isSafeInteger(word) && word >= 0 ? { kind: "length", bytes: word } : undefined;
}

/** Whether names and values may be written is the writer's to check, as with any field that did not come out of a parser. */
function isFieldList(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length % 2 !== 0 || value.length > 2 * MAX_TUNNEL_FIELDS) return false;
  return value.every((part) => typeof part === "string");
}

function decodeReset(stream: number, payload: Uint8Array): Result<TunnelFrame, string> {
  const code = RESET_CODES[(payload[0] ?? 0) - 1];
  if (code === undefined) return fail("a RESET frame has a code that nobody knows");
  try {
    const reason = DECODER.decode(payload.subarray(1));
    if (reason.length > MAX_TUNNEL_REASON_CHARS) return fail(`a reason has at most ${MAX_TUNNEL_REASON_CHARS} characters`);
    return ok({ kind: "reset", stream, code, reason });
  } catch {
    return fail("a RESET frame's reason is not UTF-8");
  }
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function readUint32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0);
}
