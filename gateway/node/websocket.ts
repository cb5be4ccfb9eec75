/**
 * WebSocket's two handshakes, each told in the other's words: the one of HTTP/1.1 (RFC 6455 4) proves with a key and its echo that both ends mean it, the
 * one of HTTP/2 (RFC 8441 5) has no need to. Inside of the gateway it is HTTP/1.1's: a GET, and a 101.
 */
import { createHash, randomBytes } from "node:crypto";
import { type FieldList, field, type ReadonlyFieldList } from "../core/index.ts";

const KEY = "sec-websocket-key";
const ACCEPT = "sec-websocket-accept";
/** RFC 6455 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A request's fields for an origin that is asked by HTTP/1.1, and the echo that its answer has to carry. */
export function upgradeFields(from: ReadonlyFieldList): { readonly fields: FieldList; readonly accept: string } {
  const fields = [...from, "upgrade", "websocket"];
  let key = field(from, KEY);
  if (key === undefined) {
    key = randomBytes(16).toString("base64");
    fields.push(KEY, key);
  }
  return { fields, accept: acceptOf(key) };
}

/** The echo of a 101's fields is the one that the request asked for. */
export function isAccepted(fields: ReadonlyFieldList, accept: string): boolean {
  return field(fields, ACCEPT) === accept;
}

/** A request's fields for an origin that is asked by HTTP/2, and the echo that a client of HTTP/1.1 waits for. */
export function connectFields(from: ReadonlyFieldList): { readonly fields: FieldList; readonly accept: string | undefined } {
  const key = field(from, KEY);
  return { fields: without(from, KEY), accept: key === undefined ? undefined : acceptOf(key) };
}

/** Fields of a 101 out of those by which HTTP/2 agrees. */
export function switchedFields(from: ReadonlyFieldList, accept: string | undefined): FieldList {
  return accept === undefined ? [...from] : [...from, ACCEPT, accept];
}

/** Fields by which HTTP/2 agrees out of those of a 101. */
export function agreedFields(from: ReadonlyFieldList): FieldList {
  return without(from, ACCEPT);
}

function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}${GUID}`).digest("base64");
}

function without(fields: ReadonlyFieldList, name: string): FieldList {
  return fields.filter((_, i) => fields[i - (i % 2)] !== name);
}
