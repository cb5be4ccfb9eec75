/** Heads between core's flat lists and the runtime's objects. */
import {
  type BodyKind,
  type FieldList,
  NO_BODY,
  type ReadonlyFieldList,
  type RespondStep,
  type ResponseHead,
  STREAM_BODY,
} from "../core/index.ts";

export function headersOf(fields: ReadonlyFieldList): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) headers.append(fields[i] ?? "", fields[i + 1] ?? "");
  return headers;
}

/** Statuses whose responses have no content, whatever their fields say, and all answers to HEAD (RFC 9112 6.3). */
export function hasNoContent(status: number, method: string): boolean {
  return method === "HEAD" || status === 204 || status === 205 || status === 304 || status < 200;
}

const SWITCHING_PROTOCOLS = 101;

/** An origin's response in core's words; undefined: its status is none that can be passed on. */
export function responseHead(response: Response, method: string): ResponseHead | undefined {
  const { status } = response;
  if (status > 599 || (status < 200 && status !== SWITCHING_PROTOCOLS)) return undefined;
  const fields: FieldList = [];
  let length: number | undefined;
  for (const [name, value] of response.headers) {
    if (name === "content-length") length = Number(value);
    else if (name !== "transfer-encoding" && name !== "connection") fields.push(name, value);
  }
  return { status, fields, body: bodyOf(response, length, method) };
}

function bodyOf({ status, body }: Response, length: number | undefined, method: string): BodyKind {
  // The length that a GET would have had is worth telling.
  if (method === "HEAD" && length !== undefined) return { kind: "length", bytes: length };
  if (body === null || hasNoContent(status, method)) return NO_BODY;
  return length === undefined || !Number.isSafeInteger(length) ? STREAM_BODY : { kind: "length", bytes: length };
}

/** An answer made here. */
export function responseOf({ head, body }: RespondStep, method: string): { readonly response: Response; readonly bytes: number } {
  const { status } = head;
  const headers = headersOf(head.fields);
  if (hasNoContent(status, method)) {
    if (method === "HEAD" && head.body.kind === "length") headers.set("content-length", String(head.body.bytes));
    return { response: new Response(null, { status, headers, encodeBody: "manual" }), bytes: 0 };
  }
  // Bytes, because the runtime gives texts a content type of their own.
  const bytes = typeof body === "string" ? ENCODER.encode(body) : body;
  const content = bytes.byteLength === 0 ? null : bytes;
  return { response: new Response(content, { status, headers, encodeBody: "manual" }), bytes: bytes.byteLength };
}

const ENCODER = new TextEncoder();

/** An origin's response, passed on as it is encoded. */
export function relayedResponse(
  head: ResponseHead,
  body: ReadableStream<Uint8Array> | Uint8Array | null,
  webSocket: WebSocket | null,
): Response {
  const { status } = head;
  const headers = headersOf(head.fields);
  if (body === null && head.body.kind === "length") headers.set("content-length", String(head.body.bytes));
  if (status === SWITCHING_PROTOCOLS) return new Response(null, { status, headers, webSocket });
  return new Response(body, { status, headers, encodeBody: "manual" });
}
