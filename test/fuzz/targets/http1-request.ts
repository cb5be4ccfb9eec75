/** The request parser: total, indifferent to splits, within its limits, reversible by the writer, and of one mind with Node's parser. */
import type { RequestHead } from "../../../gateway/core/http/message.ts";
import {
  CHUNK_END,
  chunkHeader,
  DEFAULT_HTTP1_LIMITS,
  type Http1Limits,
  lastChunk,
  RequestParser,
  RequestParserSettings,
  writeRequestHead,
} from "../../../gateway/wire/index.ts";
import { CHUNKS, REQUESTS } from "../../wire/requests.ts";
import { type Message, type RequestTranscript, requestLines, transcribeRequests, without } from "../../wire/transcript.ts";
import type { Dice } from "../dice.ts";
import { compareRequests, type Explained } from "../differential.ts";
import { request, TOKENS } from "../grammar.ts";
import { cut } from "../mutate.ts";
import { FuzzFailure, type FuzzTarget, latin1 } from "../target.ts";

const settings = new RequestParserSettings();
const explained: Explained = new Map();
let inputs = 0;
let accepted = 0;

function read(chunks: Iterable<Uint8Array>, limits?: Http1Limits): RequestTranscript {
  return transcribeRequests(new RequestParser(limits === undefined ? settings : new RequestParserSettings({ limits })), chunks);
}

export const target: FuzzTarget = {
  name: "http1-request",
  seeds: [...REQUESTS, ...CHUNKS].map(([, raw]) => latin1(raw)),
  tokens: TOKENS,
  generate: (dice) => latin1(request(dice)),
  check(input, dice) {
    const whole = read([input]);
    inputs++;
    if (whole.messages.length > 0) accepted++;
    const split = read(cut(input, dice));
    if (JSON.stringify(requestLines(split)) !== JSON.stringify(requestLines(whole))) {
      throw new FuzzFailure(
        "split invariance",
        `${JSON.stringify(requestLines(whole))} became ${JSON.stringify(requestLines(split))}`,
      );
    }
    for (const message of whole.messages) if (message.ended) roundTrip(message);
    withinLimits(input, dice);
    compareRequests(input, whole, explained);
  },
  summary: () => `${accepted} of ${inputs} accepted; explained: ${JSON.stringify(Object.fromEntries(explained))}`,
};

function roundTrip({ event, body, trailers }: Message<RequestHead>): void {
  const { keepAlive } = event;
  // As a gateway does: an Upgrade that Connection does not name is dropped, for the writer would name it.
  const head = event.upgrade === undefined ? { ...event.head, fields: without("upgrade", event.head.fields) } : event.head;
  // Only an HTTP/1.0 request has no authority; what it then gets is decided before it is sent on.
  if (head.authority === "") return;
  let text = writeRequestHead(head, { keepAlive });
  if (head.body.kind === "stream") {
    if (body !== "") text += chunkHeader(body.length) + body + CHUNK_END;
    text += lastChunk(trailers);
  } else text += body;
  const again = read([latin1(text)]).messages[0];
  const meaning = (m: Message<RequestHead> | undefined): string =>
    JSON.stringify(
      m && [m.event.head.method, m.event.head.authority, m.event.head.target, m.event.head.fields, m.body, m.trailers, m.ended],
    );
  const before = { event: { ...event, head }, body, trailers, ended: true };
  if (meaning(again) !== meaning(before)) throw new FuzzFailure("round trip", `${meaning(before)} became ${meaning(again)}`);
}

function withinLimits(input: Uint8Array, dice: Dice): void {
  const limits: Http1Limits = {
    ...DEFAULT_HTTP1_LIMITS,
    maxRequestLineBytes: 10 + dice.int(40),
    maxHeaderBytes: dice.int(120),
    maxHeaderCount: dice.int(8),
    maxRequestBodyBytes: 1 + dice.int(20),
    maxChunkHeaderBytes: 1 + dice.int(10),
    maxTrailerBytes: dice.int(40),
    maxTrailerCount: dice.int(3),
    maxLeadingEmptyLines: dice.int(3),
  };
  const transcript = read([input], limits);
  const split = read(cut(input, dice), limits);
  if (JSON.stringify(requestLines(split)) !== JSON.stringify(requestLines(transcript))) {
    throw new FuzzFailure(
      "split invariance under limits",
      `${JSON.stringify(requestLines(transcript))} became ${JSON.stringify(requestLines(split))}`,
    );
  }
  for (const { event, body, trailers } of transcript.messages) {
    const { head } = event;
    const fieldBytes = head.fields.reduce((sum, text) => sum + text.length, 0);
    const held =
      head.method.length + head.target.length <= limits.maxRequestLineBytes &&
      fieldBytes <= limits.maxHeaderBytes &&
      head.fields.length <= limits.maxHeaderCount * 2 &&
      body.length <= limits.maxRequestBodyBytes &&
      (trailers?.length ?? 0) <= limits.maxTrailerCount * 2;
    if (!held) throw new FuzzFailure("limits", `${JSON.stringify(limits)} did not hold ${JSON.stringify(head)}`);
  }
}
