/** The response parser: the same properties, for every kind of request that may be answered and for connections that end. */
import type { ResponseHead } from "../../../gateway/core/http/message.ts";
import {
  CHUNK_END,
  chunkHeader,
  lastChunk,
  ResponseParser,
  ResponseParserSettings,
  responseFraming,
  writeResponseHead,
} from "../../../gateway/wire/index.ts";
import { RESPONSES } from "../../wire/responses.ts";
import { type Message, type ResponseTranscript, responseLines, transcribeResponses, without } from "../../wire/transcript.ts";
import { compareResponses, type Explained } from "../differential.ts";
import { response, TOKENS } from "../grammar.ts";
import { cut } from "../mutate.ts";
import { FuzzFailure, type FuzzTarget, latin1 } from "../target.ts";

const settings = new ResponseParserSettings();
const explained: Explained = new Map();
let inputs = 0;
let accepted = 0;

function read(chunks: Iterable<Uint8Array>, method: string, eof: boolean): ResponseTranscript {
  return transcribeResponses(new ResponseParser(settings), chunks, method, eof);
}

export const target: FuzzTarget = {
  name: "http1-response",
  seeds: RESPONSES.map(([, , raw]) => latin1(raw)),
  tokens: TOKENS,
  generate: (dice) => latin1(response(dice)),
  check(input, dice) {
    const method = dice.mostly("GET", ["HEAD", "CONNECT", "POST"], 0.3);
    const eof = dice.chance(0.5);
    const whole = read([input], method, eof);
    inputs++;
    if (whole.messages.length > 0) accepted++;
    const split = read(cut(input, dice), method, eof);
    if (JSON.stringify(responseLines(split)) !== JSON.stringify(responseLines(whole))) {
      throw new FuzzFailure(
        "split invariance",
        `${JSON.stringify(responseLines(whole))} became ${JSON.stringify(responseLines(split))}`,
      );
    }
    for (const message of whole.messages) if (message.ended) roundTrip(message, method);
    compareResponses(input, whole, method, eof, explained);
  },
  summary: () => `${accepted} of ${inputs} accepted; explained: ${JSON.stringify(Object.fromEntries(explained))}`,
};

function roundTrip({ event, body, trailers }: Message<ResponseHead>, method: string): void {
  const { keepAlive } = event;
  // As a gateway does: an Upgrade that Connection does not name is dropped, for the writer would name it.
  const head = event.upgrade === undefined ? { ...event.head, fields: without("upgrade", event.head.fields) } : event.head;
  const framing = responseFraming(head.status, head.body, { method, minor: 1 });
  let text = writeResponseHead(head, { keepAlive, method, minor: 1 });
  if (framing === "chunked") {
    if (body !== "") text += chunkHeader(body.length) + body + CHUNK_END;
    text += lastChunk(trailers);
  } else text += body;
  const again = read([latin1(text)], method, false).messages[0];
  const meaning = (m: Message<ResponseHead> | undefined): string =>
    JSON.stringify(m && [m.event.head.status, m.event.head.fields, m.event.head.body, m.body, m.trailers, m.ended]);
  const before = { event: { ...event, head }, body, trailers, ended: true };
  if (meaning(again) !== meaning(before)) throw new FuzzFailure("round trip", `${meaning(before)} became ${meaning(again)}`);
}
