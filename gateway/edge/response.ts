/** Responses between core's heads and the runtime's objects. */
import {
  type BodyKind,
  connectionOptionsOf,
  type FieldList,
  NO_BODY,
  type ReadonlyFieldList,
  type RespondStep,
  type ResponseHead,
  STREAM_BODY,
} from "../core/index.ts";
import { changeFields, fieldsInit } from "./fields.ts";
import { numberIn } from "./number.ts";

/** Statuses whose responses have no content, whatever their fields say, and all answers to HEAD (RFC 9112 6.3). */
export function hasNoContent(status: number, method: string): boolean {
  return method === "HEAD" || status === 204 || status === 205 || status === 304 || status < 200;
}

const SWITCHING_PROTOCOLS = 101;

/** An origin's response, and its head in core's words. */
export interface OriginResponse {
  readonly response: Response;
  /** It has none, whatever its head says. */
  readonly isEmpty: boolean;
  readonly head: ResponseHead;
  /** What its Connection names, in lower case. */
  readonly connectionOptions: readonly string[] | undefined;
  /** It has a Transfer-Encoding. */
  readonly isCoded: boolean;
}

/** @returns undefined: its status is none that can be passed on */
export function readResponse(response: Response, method: string): OriginResponse | undefined {
  const { status } = response;
  if (status > 599 || (status < 200 && status !== SWITCHING_PROTOCOLS)) return undefined;
  const { fields, connectionOptions, length, isCoded } = READER.read(response.headers);
  // Asked for its body, the runtime makes a stream of it, which a response that goes on as it is has no need of.
  const isEmpty = hasNoContent(status, method) || (length === undefined && response.body === null);
  const head = { status, fields, body: bodyOf(isEmpty, length, method) };
  return { response, isEmpty, head, connectionOptions, isCoded };
}

interface ReadFields {
  readonly fields: FieldList;
  readonly connectionOptions: readonly string[] | undefined;
  /** Not a number when it says something else. */
  readonly length: number | undefined;
  readonly isCoded: boolean;
}

/** One for all, for the same reason as that of requests. */
class FieldReader {
  #fields: FieldList = [];
  #connectionOptions: readonly string[] | undefined;
  #length: number | undefined;
  #isCoded = false;

  read(headers: Headers): ReadFields {
    this.#fields = [];
    this.#connectionOptions = undefined;
    this.#length = undefined;
    this.#isCoded = false;
    headers.forEach(this.#take);
    return {
      fields: this.#fields,
      connectionOptions: this.#connectionOptions,
      length: this.#length,
      isCoded: this.#isCoded,
    };
  }

  readonly #take = (value: string, name: string): void => {
    if (name === "content-length") this.#length = numberIn(value);
    else if (name === "connection") this.#connectionOptions = connectionOptionsOf(value);
    else if (name === "transfer-encoding") this.#isCoded = true;
    else this.#fields.push(name, value);
  };
}

const READER = new FieldReader();

function bodyOf(isEmpty: boolean, length: number | undefined, method: string): BodyKind {
  // The length that a GET would have had is worth telling.
  if (method === "HEAD" && length !== undefined) return { kind: "length", bytes: length };
  if (isEmpty) return NO_BODY;
  return length === undefined || !Number.isSafeInteger(length) ? STREAM_BODY : { kind: "length", bytes: length };
}

/** An answer made here. */
export function responseOf({ head, body }: RespondStep, method: string): { readonly response: Response; readonly bytes: number } {
  const { status } = head;
  if (hasNoContent(status, method)) {
    const length = method === "HEAD" && head.body.kind === "length" ? ["content-length", String(head.body.bytes)] : [];
    const headers = fieldsInit([...head.fields, ...length]);
    return { response: new Response(null, { status, headers, encodeBody: "manual" }), bytes: 0 };
  }
  const headers = fieldsInit(head.fields);
  // Bytes, because the runtime gives texts a content type of their own.
  const bytes = typeof body === "string" ? ENCODER.encode(body) : body;
  const content = bytes.byteLength === 0 ? null : bytes;
  return { response: new Response(content, { status, headers, encodeBody: "manual" }), bytes: bytes.byteLength };
}

const ENCODER = new TextEncoder();

/**
 * An origin's response with its own content, as it is encoded: itself, where core has changed nothing of it. What it says of its connection goes no further,
 * for the platform writes its own.
 *
 * @param head what core made of the origin's
 */
export function handedOnResponse(origin: OriginResponse, head: ResponseHead): Response {
  const { response, isEmpty, head: came, isCoded } = origin;
  if (!isCoded && isSame(came.fields, head.fields)) return response;
  return relayedResponse(origin, head, isEmpty ? null : response.body);
}

function isSame(before: ReadonlyFieldList, after: ReadonlyFieldList): boolean {
  if (before.length !== after.length) return false;
  for (let i = 0; i < before.length; i++) if (before[i] !== after[i]) return false;
  return true;
}

/**
 * An origin's response with content of ours. The runtime copies it as a whole, which costs far less than to take it apart and to make another one; what
 * core has changed of its fields is changed then.
 *
 * @param head what core made of the origin's
 */
export function relayedResponse(
  { response, head: came, connectionOptions, isCoded }: OriginResponse,
  head: ResponseHead,
  body: ReadableStream<Uint8Array> | Uint8Array | null,
): Response {
  const { status } = head;
  if (status === SWITCHING_PROTOCOLS) {
    return new Response(null, { status, headers: fieldsInit(head.fields), webSocket: response.webSocket });
  }
  const relayed = new Response(body, response);
  const { headers } = relayed;
  // The platform writes its own.
  if (connectionOptions !== undefined) headers.delete("connection");
  if (isCoded) headers.delete("transfer-encoding");
  changeFields(headers, came.fields, head.fields);
  return relayed;
}
