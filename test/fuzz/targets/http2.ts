/**
 * The HTTP/2 codec as a server: total, bounded, indifferent to splits; and a request that it lets through is one that HTTP/1.1 carries without a change of
 * meaning.
 */
import type { RequestHead } from "../../../gateway/core/index.ts";
import { DEFAULT_HTTP1_LIMITS, RequestParser, RequestParserSettings, writeRequestHead } from "../../../gateway/wire/index.ts";
import { ACK, frame, headers, SETTINGS, settings } from "../../support/http2-frames.ts";
import { CONNECTION_CASES, REQUEST_HEAD_CASES, STREAM_CASES } from "../../wire/http2-cases.ts";
import { conversation } from "../http2-grammar.ts";
import { readEitherWay } from "../http2-reading.ts";
import { FuzzFailure, type FuzzTarget } from "../target.ts";

const HTTP1 = new RequestParserSettings({
  scheme: "https",
  limits: { ...DEFAULT_HTTP1_LIMITS, maxRequestLineBytes: 20_000 },
});
const OPENING = Buffer.concat([settings(), frame(SETTINGS, ACK, 0)]);

let inputs = 0;
let requests = 0;
let broken = 0;

/** Header smuggling from HTTP/2 to HTTP/1.1: whoever reads what we would write there reads the same request, and nothing after it. */
function carried(head: RequestHead): void {
  const parser = new RequestParser(HTTP1);
  parser.feed(Buffer.from(writeRequestHead(head, { keepAlive: true }), "latin1"));
  const event = parser.next();
  const meant = meaning(head);
  const understood = event.kind === "head" ? meaning(event.head) : undefined;
  if (JSON.stringify(meant) !== JSON.stringify(understood)) {
    throw new FuzzFailure("HTTP/1.1 carries the request", `${JSON.stringify(meant)} became ${JSON.stringify(event)}`);
  }
  const after = parser.next();
  if (after.kind !== "need" && after.kind !== "end")
    throw new FuzzFailure("HTTP/1.1 carries the request", `then came ${after.kind}`);
}

/** Without the scheme, which the origin form does not say, and the body's length, which says more there. */
function meaning({ method, authority, target, fields, body }: RequestHead): readonly unknown[] {
  return [
    method,
    authority,
    target,
    fields,
    body.kind === "none" || (body.kind === "length" && body.bytes === 0) ? "none" : body,
  ];
}

export const target: FuzzTarget = {
  name: "http2",
  seeds: [
    ...CONNECTION_CASES.map(([, bytes]) => Buffer.concat([OPENING, ...bytes])),
    ...STREAM_CASES.map(([, bytes]) => Buffer.concat([OPENING, ...bytes])),
    ...REQUEST_HEAD_CASES.map(([, fields]) => Buffer.concat([OPENING, headers(1, fields)])),
  ],
  tokens: [
    "\0\0\0",
    "\0\0\x04\x08\0",
    "\0\0\x08\x06\0",
    "\x82\x86\x84",
    "\x40\x01a\x01b",
    "\xbe",
    "\x7f\xff\xff\xff",
    "\0\0\0\x01",
    "\0\0\x40\x00",
    "\x20",
    "\x3f\xe1\x1f",
  ],
  generate: conversation,
  check(input, dice) {
    inputs++;
    const whole = readEitherWay("server", input, dice);
    for (const head of whole.heads) carried(head);
    requests += whole.heads.length;
    if (whole.lines.at(-1)?.startsWith("error") === true) broken++;
  },
  summary: () => `${requests} requests taken, ${broken} of ${inputs} connections broken`,
};
