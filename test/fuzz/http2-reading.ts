/** What one end of ours makes of a conversation, and what must hold for every one of them, however it is split. */
import type { RequestHead } from "../../gateway/core/index.ts";
import { DEFAULT_HTTP2_LIMITS, Http2Connection, Http2Settings } from "../../gateway/wire/index.ts";
import { eventLine, PREFACE, readFrames } from "../support/http2-frames.ts";
import type { Dice } from "./dice.ts";
import { cut } from "./mutate.ts";
import { FuzzFailure } from "./target.ts";

const LIMITS = { ...DEFAULT_HTTP2_LIMITS, maxHeaderListBytes: 4096, connectionWindowBytes: 65_535, maxOutputBytes: 8192 };
const SETTINGS = {
  server: new Http2Settings({ role: "server", scheme: "https", limits: LIMITS }),
  client: new Http2Settings({ role: "client", limits: LIMITS }),
};
/** What may be added to a full output before it is noticed: one answer to one frame, and GOAWAY. */
const SLACK_BYTES = 100;
type Role = keyof typeof SETTINGS;

const METHODS = ["GET", "HEAD", "CONNECT", "GET"];
const ASKED = { scheme: "https", authority: "a.test:443", target: "/", body: { kind: "none" } } as const;

export interface Reading {
  /** Events but for content, which splits may cut otherwise. */
  readonly lines: string[];
  readonly content: Map<number, number>;
  readonly heads: RequestHead[];
  readonly sent: readonly string[];
}

function read(role: Role, chunks: Iterable<Uint8Array>): Reading {
  const connection = new Http2Connection<string>(SETTINGS[role]);
  // Requests of ours that wait for what the conversation brings.
  for (const method of role === "client" ? METHODS : []) connection.request({ ...ASKED, method, fields: [] }, true, "");
  connection.take();
  const reading = { lines: [] as string[], content: new Map<number, number>(), heads: [] as RequestHead[] };
  let held = 0;
  let isOver = false;
  if (role === "server") connection.feed(PREFACE, 0);
  for (const chunk of chunks) {
    connection.feed(chunk, 0);
    for (let event = connection.next(); event.kind !== "need" && !isOver; event = connection.next()) {
      if (event.kind === "data") {
        held += event.bytes.length;
        reading.content.set(event.stream.id, (reading.content.get(event.stream.id) ?? 0) + event.bytes.length);
        if (event.end) reading.lines.push(`end ${event.stream.id}`);
        continue;
      }
      reading.lines.push(eventLine(event));
      if (event.kind === "request" && event.protocol === undefined) reading.heads.push(event.head);
      if (event.kind === "refused") connection.reset(event.stream, event.error.http2Code);
      isOver = event.kind === "error";
    }
    if (isOver) break;
  }
  const out = connection.take();
  if (held > LIMITS.connectionWindowBytes) throw new FuzzFailure("held content is bounded", `${held} bytes`);
  if (out.length > LIMITS.maxOutputBytes + SLACK_BYTES) throw new FuzzFailure("waiting output is bounded", `${out.length} bytes`);
  return {
    ...reading,
    sent: readFrames(out).map(({ type, flags, stream, payload }) => `${type} ${flags} ${stream} ${payload.toString("hex")}`),
  };
}

/** Reads it whole and split. */
export function readEitherWay(role: Role, input: Uint8Array, dice: Dice): Reading {
  const whole = read(role, [input]);
  const split = read(role, cut(input, dice));
  const told = ({ lines, content }: Reading): string => JSON.stringify([lines, [...content]]);
  if (told(whole) !== told(split)) throw new FuzzFailure("split invariance", `${told(whole)} became ${told(split)}`);
  if (JSON.stringify(whole.sent) !== JSON.stringify(split.sent)) {
    throw new FuzzFailure("split invariance of what is sent", `${whole.sent.join("; ")} became ${split.sent.join("; ")}`);
  }
  return whole;
}
