/**
 * gRPC-Web's content (PROTOCOL-WEB.md): gRPC's length-prefixed messages, with the trailers as one more message at the end; in the text form all of
 * it in base64.
 *
 * It lives with the codecs, and not in core, because only a runtime that gets trailers from origins can use it: Workers do not, and their bundle stays without it.
 */
import type { ReadonlyFieldList } from "../core/http/message.ts";
import { isFieldValue, isToken } from "./http1/chars.ts";

/** First byte of a message that holds trailers. */
const TRAILERS_FLAG = 0x80;
/** A message's flag and its length. */
const PREFIX_BYTES = 5;
/** PROTOCOL-HTTP2.md: what a call without a status ended as. */
const NO_STATUS: ReadonlyFieldList = ["grpc-status", "2", "grpc-message", "the call ended without a status"];

/** A gRPC response's content on its way to a client of gRPC-Web. */
export class GrpcWebResponse {
  readonly #isText: boolean;

  constructor(form: "binary" | "text") {
    this.#isText = form === "text";
  }

  /** Each piece is padded by itself: whoever reads a stream has to get the whole of what was sent so far. */
  content(bytes: Uint8Array): Uint8Array {
    return this.#isText ? encodeBase64(bytes) : bytes;
  }

  /** The last message. */
  trailers(fields: ReadonlyFieldList | undefined): Uint8Array {
    return this.content(trailersMessage(fields === undefined || fields.length === 0 ? NO_STATUS : fields));
  }
}

/** A gRPC-Web request's content in the text form on its way to a gRPC server. Any number of padded texts may follow each other. */
export class GrpcWebText {
  /** Digits of a quantum that is not complete yet. */
  readonly #held: number[] = [];
  #isPadded = false;

  /** @returns undefined when it is no base64 */
  content(bytes: Uint8Array): Uint8Array | undefined {
    const out = new Uint8Array(Math.ceil(((bytes.length + this.#held.length) * 3) / 4));
    let length = 0;
    for (const byte of bytes) {
      const isPad = byte === PAD;
      const digit = isPad ? 0 : (DIGITS[byte] as number);
      // RFC 4648 3.2, 4: at most two, at the end of a quantum.
      if (digit === 255 || (isPad ? this.#held.length < 2 : this.#isPadded)) return undefined;
      const padding: number = isPad ? (this.#isPadded ? 2 : 1) : 0;
      this.#isPadded = isPad;
      this.#held.push(digit);
      if (this.#held.length < 4) continue;
      const [a = 0, b = 0, c = 0, d = 0] = this.#held;
      out[length] = (a << 2) | (b >> 4);
      out[length + 1] = (b << 4) | (c >> 2);
      out[length + 2] = (c << 6) | d;
      length += 3 - padding;
      this.#held.length = 0;
      this.#isPadded = false;
    }
    return out.subarray(0, length);
  }

  /** Nothing of a quantum is left over. */
  get isWhole(): boolean {
    return this.#held.length === 0;
  }
}

function trailersMessage(fields: ReadonlyFieldList): Uint8Array {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    // Nothing may begin a line of its own.
    if (isToken(name) && isFieldValue(value)) text += `${name}: ${value}\r\n`;
  }
  const message = new Uint8Array(PREFIX_BYTES + text.length);
  message[0] = TRAILERS_FLAG;
  for (let i = 1; i < PREFIX_BYTES; i++) message[i] = text.length >>> (8 * (PREFIX_BYTES - 1 - i));
  for (let i = 0; i < text.length; i++) message[PREFIX_BYTES + i] = text.charCodeAt(i);
  return message;
}

// RFC 4648 4.
const ALPHABET = Uint8Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", (char) =>
  char.charCodeAt(0),
);
const DIGITS = new Uint8Array(256).fill(255);
for (const [digit, byte] of ALPHABET.entries()) DIGITS[byte] = digit;
const PAD = 0x3d;

function encodeBase64(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const bits = ((bytes[i] as number) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    out[at++] = ALPHABET[bits >> 18] as number;
    out[at++] = ALPHABET[(bits >> 12) & 63] as number;
    out[at++] = left > 1 ? (ALPHABET[(bits >> 6) & 63] as number) : PAD;
    out[at++] = left > 2 ? (ALPHABET[bits & 63] as number) : PAD;
  }
  return out;
}
