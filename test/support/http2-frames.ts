/** A scripted HTTP/2 peer: frames as bytes, whether or not they are allowed, and what the codec under test says and sends, as lines of text. */
import {
  DEFAULT_HTTP2_LIMITS,
  Http2Connection,
  type Http2Event,
  type Http2Limits,
  type Http2Options,
  Http2Settings,
} from "../../gateway/wire/index.ts";

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
const NAMES = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
];

export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const WITH_PRIORITY = 0x20;

export type Fields = readonly (readonly [name: string, value: string])[];

export function frame(type: number, flags: number, stream: number, payload: Uint8Array | string = ""): Buffer {
  const bytes = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
  const header = Buffer.alloc(9);
  header.writeUIntBE(bytes.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, bytes]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** RFC 7541 5.1, for the integers of tests. */
export function integer(prefixBits: number, form: number, value: number): Buffer {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) return Buffer.from([form | value]);
  const bytes = [form | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

const text = (value: string): Buffer => Buffer.concat([integer(7, 0, value.length), Buffer.from(value, "latin1")]);

/** Literals with new names: no table is involved, and nothing is checked. `form`: 0x00 without indexing, 0x40 with, 0x10 never. */
export function block(fields: Fields, form = 0x00): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([form]), text(name), text(value)]));
}

export const GET: Fields = [
  [":method", "GET"],
  [":scheme", "https"],
  [":authority", "a.test"],
  [":path", "/"],
];
export const POST: Fields = [[":method", "POST"], ...GET.slice(1)];

export function headers(stream: number, fields: Fields, flags = END_STREAM | END_HEADERS): Buffer {
  return frame(HEADERS, flags, stream, block(fields));
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  return frame(SETTINGS, 0, 0, Buffer.concat(pairs.map(([id, value]) => Buffer.concat([uint32(id).subarray(2), uint32(value)]))));
}

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const windowUpdate = (stream: number, increment: number): Buffer => frame(WINDOW_UPDATE, 0, stream, uint32(increment));
export const rstStream = (stream: number, code: number): Buffer => frame(RST_STREAM, 0, stream, uint32(code));
export const ping = (fill = "12345678", flags = 0): Buffer => frame(PING, flags, 0, fill);
export const goAway = (last: number, code: number): Buffer => frame(GOAWAY, 0, 0, Buffer.concat([uint32(last), uint32(code)]));

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function readFrames(bytes: Uint8Array): readonly Frame[] {
  const all = Buffer.from(bytes);
  const frames: Frame[] = [];
  for (let at = all.subarray(0, 24).equals(PREFACE) ? 24 : 0; at < all.length; ) {
    const length = all.readUIntBE(at, 3);
    frames.push({
      type: all[at + 3] ?? 0,
      flags: all[at + 4] ?? 0,
      stream: all.readUInt32BE(at + 5),
      payload: all.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}

/** One frame in few words: type, stream, and what matters of the payload. */
export function frameLine({ type, flags, stream, payload }: Frame): string {
  const name = NAMES[type] ?? `${type}`;
  switch (type) {
    case DATA:
      return `${name} ${stream} ${payload.length}${flags & END_STREAM ? " end" : ""}`;
    case HEADERS:
      return `${name} ${stream}${flags & END_STREAM ? " end" : ""}`;
    case RST_STREAM:
    case WINDOW_UPDATE:
      return `${name} ${stream} ${payload.readUInt32BE(0)}`;
    case GOAWAY:
      return `${name} ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`;
    case SETTINGS:
    case PING:
      return flags & ACK ? `${name} ack` : name;
    default:
      return `${name} ${stream}`;
  }
}

/** One event in few words. */
export function eventLine(event: Http2Event<string>): string {
  switch (event.kind) {
    case "request":
      return `request ${event.stream.id} ${event.head.method} ${event.head.authority}${event.head.target}${event.end ? " end" : ""}`;
    case "response":
      return `response ${event.stream.id} ${event.head.status}${event.end ? " end" : ""}`;
    case "data":
      return `data ${event.stream.id} ${event.bytes.length}${event.end ? " end" : ""}`;
    case "trailers":
      return `trailers ${event.stream.id} ${event.fields.join("|")}`;
    case "reset":
      return `reset ${event.stream.id} ${event.code}${event.unprocessed ? " unprocessed" : ""}`;
    case "refused":
      return `refused ${event.stream.id} ${event.error.code}`;
    case "window":
      return `window ${event.stream.id}`;
    case "goaway":
      return `goaway ${event.code}`;
    case "error":
      return `error ${event.error.code}`;
    default:
      return event.kind;
  }
}

/** The codec under test with a peer that has said its preface and SETTINGS. */
export class Script {
  readonly connection: Http2Connection<string>;
  readonly isServer: boolean;
  nowMs = 0;

  constructor(
    role: "server" | "client",
    limits: Partial<Http2Limits> = {},
    opening: Uint8Array = settings(),
    options: Partial<Http2Options> = {},
  ) {
    const merged = { ...DEFAULT_HTTP2_LIMITS, ...limits };
    this.connection = new Http2Connection(new Http2Settings({ role, limits: merged, scheme: "https", ...options }));
    this.isServer = role === "server";
    this.connection.take();
    if (opening.length > 0) this.say(this.isServer ? Buffer.concat([PREFACE, opening]) : opening, frame(SETTINGS, ACK, 0));
    this.connection.take();
  }

  /** Says these bytes; refused streams are reset, as their owner has to. @returns the events, without `need` */
  say(...bytes: readonly Uint8Array[]): readonly string[] {
    return this.hear(bytes).map(eventLine);
  }

  /** The same with the events themselves, whose bytes are no longer valid. */
  hear(bytes: readonly Uint8Array[]): readonly Http2Event<string>[] {
    const events: Http2Event<string>[] = [];
    this.connection.feed(Buffer.concat(bytes), this.nowMs);
    for (let event = this.connection.next(); event.kind !== "need"; event = this.connection.next()) {
      events.push(event);
      if (event.kind === "refused") this.connection.reset(event.stream, event.error.http2Code);
      if (event.kind === "error") break;
    }
    return events;
  }

  /** What the codec has sent since the last call. */
  sent(): readonly string[] {
    return readFrames(this.connection.take()).map(frameLine);
  }
}
