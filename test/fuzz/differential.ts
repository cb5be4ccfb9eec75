/** Compares a transcript of ours with what Node's parser read in the same bytes. */
import type { RequestHead, ResponseHead } from "../../gateway/core/http/message.ts";
import type { Message, RequestTranscript, ResponseTranscript, Transcript } from "../wire/transcript.ts";
import { type Disagreement, EXPLANATIONS } from "./disagreements.ts";
import { type OracleMessage, type OracleReading, readWithOracle } from "./llhttp.ts";
import { FuzzFailure } from "./target.ts";

const FRAMING = new Set(["host", "connection", "content-length", "transfer-encoding"]);
/** How often each explanation was needed. */
export type Explained = Map<string, number>;

export function compareRequests(input: Uint8Array, transcript: RequestTranscript, explained: Explained): void {
  if (transcript.messages.length === 0) return;
  compare("request", transcript, readWithOracle("request", input, "", false), input, explained, (ours, theirs) => {
    if (theirs.method !== ours.event.head.method) return "method";
    return sameTarget(ours, theirs) ? undefined : "target";
  });
}

export function compareResponses(
  input: Uint8Array,
  transcript: ResponseTranscript,
  requestMethod: string,
  eof: boolean,
  explained: Explained,
): void {
  if (transcript.messages.length === 0) return;
  compare("response", transcript, readWithOracle("response", input, requestMethod, eof), input, explained, (ours, theirs) =>
    theirs.status === ours.event.head.status ? undefined : "status",
  );
}

function compare<Head extends RequestHead | ResponseHead>(
  kind: Disagreement["kind"],
  { messages, outcome }: Transcript<Head>,
  reading: OracleReading,
  input: Uint8Array,
  explained: Explained,
  start: (ours: Message<Head>, theirs: OracleMessage) => Disagreement["aspect"] | undefined,
): void {
  for (const [index, ours] of messages.entries()) {
    const theirs = reading.messages[index];
    // It hands the connection over after a request for an upgrade; whether ours does is decided by the answer.
    if (theirs === undefined && reading.handedOver) return;
    const aspect =
      theirs === undefined ? "missing" : (start(ours, theirs) ?? common(ours, theirs, !ours.ended && outcome !== "need"));
    if (aspect === undefined) continue;
    const disagreement = {
      kind,
      aspect,
      ours: ours as Disagreement["ours"],
      theirs,
      reading,
      input: Buffer.from(input).toString("latin1"),
    };
    const explanation = EXPLANATIONS.find((candidate) => candidate.applies(disagreement));
    if (explanation === undefined) {
      throw new FuzzFailure(
        `llhttp disagrees on ${aspect}`,
        `message ${index}: ours ${JSON.stringify(ours)}, theirs ${JSON.stringify(theirs)}, error ${reading.error}`,
      );
    }
    explained.set(explanation.name, (explained.get(explanation.name) ?? 0) + 1);
    return;
  }
}

/** `refused`: ours gave the message up on the way, so theirs may have read on. */
function common(
  ours: Message<RequestHead | ResponseHead>,
  theirs: OracleMessage,
  refused: boolean,
): Disagreement["aspect"] | undefined {
  if (ours.event.minor !== theirs.minor) return "fields";
  // Ours drops an expectation that means nothing: in HTTP/1.0, and where no content follows (RFC 9110 10.1.1).
  const dropped = (name: string): boolean =>
    FRAMING.has(name) || (name === "expect" && !ours.event.expectContinue && "method" in ours.event.head);
  const fields = comparable(theirs.fields, (name) => !dropped(name));
  if (!sameList(ours.event.head.fields, fields)) return "fields";
  if (ours.event.keepAlive !== theirs.keepAlive) return "keepAlive";
  if (refused) return theirs.body.startsWith(ours.body) ? undefined : "body";
  if (ours.body !== theirs.body) return "body";
  const interim = "status" in ours.event.head && ours.event.head.status < 200 && ours.event.head.status !== 101;
  if (!interim && ours.ended !== theirs.ended) return "ended";
  const kept = ours.trailers ?? [];
  const names = new Set(kept.filter((_, i) => i % 2 === 0));
  return sameList(
    kept,
    comparable(theirs.trailers, (name) => names.has(name)),
  )
    ? undefined
    : "trailers";
}

function comparable(raw: readonly string[], wanted: (name: string) => boolean): string[] {
  const fields: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] ?? "").toLowerCase();
    if (wanted(name)) fields.push(name, raw[i + 1] ?? "");
  }
  return fields;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** The raw target against what ours made of it, and its authority against Host. */
function sameTarget(ours: Message<RequestHead>, theirs: OracleMessage): boolean {
  const { head, form } = ours.event;
  const host = comparable(theirs.fields, (name) => name === "host")[1] ?? "";
  switch (form) {
    case "origin":
    case "asterisk":
      return theirs.url === head.target && host.toLowerCase() === head.authority;
    case "authority":
      return theirs.url.toLowerCase() === head.authority;
    case "absolute": {
      const start = `${head.scheme}://${head.authority}`;
      if (theirs.url.slice(0, start.length).toLowerCase() !== start) return false;
      const rest = theirs.url.slice(start.length);
      return rest === head.target || (rest === "" && ["/", "*"].includes(head.target)) || `/${rest}` === head.target;
    }
  }
}
