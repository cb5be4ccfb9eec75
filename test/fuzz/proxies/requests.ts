/**
 * Requests as our parser and a proxy read them: how many, and each one's method, target and host. Both as they came and as they would be sent on, for what
 * stands behind a gateway reads the latter.
 */
import type { RequestHead } from "../../../gateway/core/http/message.ts";
import {
  CHUNK_END,
  chunkHeader,
  lastChunk,
  RequestParser,
  RequestParserSettings,
  writeRequestHead,
} from "../../../gateway/wire/index.ts";
import { type Message, transcribeRequests, without } from "../../wire/transcript.ts";
import type { Disagreement } from "./disagreements.ts";
import { type Answer, answersIn, tell } from "./exchange.ts";
import type { RunningPeer } from "./peers.ts";

const settings = new RequestParserSettings();

export interface ReadRequest {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
}

/** @returns the first disagreement about what came, and the first about what would be sent on */
export async function compareRequest(peer: RunningPeer, input: Uint8Array): Promise<readonly (Disagreement | undefined)[]> {
  const { messages } = transcribeRequests(new RequestParser(settings), [input]);
  const passed = messages.filter(({ ended, event }) => ended && event.head.method !== "CONNECT" && event.head.authority !== "");
  const written = Buffer.from(passed.map(writtenAgain).join(""), "latin1");
  return [await compareRead(peer, input), written.length === 0 ? undefined : await compareRead(peer, written)];
}

/** As a gateway sends it on. */
function writtenAgain({ event, body, trailers }: Message<RequestHead>): string {
  const head = event.upgrade === undefined ? { ...event.head, fields: without("upgrade", event.head.fields) } : event.head;
  const text = writeRequestHead(head, { keepAlive: true });
  if (head.body.kind !== "stream") return text + body;
  return text + (body === "" ? "" : chunkHeader(body.length) + body + CHUNK_END) + lastChunk(trailers);
}

async function compareRead(peer: RunningPeer, input: Uint8Array): Promise<Disagreement | undefined> {
  const { messages, outcome } = transcribeRequests(new RequestParser(settings), [input]);
  const ours = messages.filter(({ ended }) => ended).map(({ event }) => event);
  const answers = answersIn(
    await tell(peer.echoPort, input, true),
    ours.map(({ head }) => head.method),
  );
  // Behind a request that ends its connection nobody reads on.
  const last = ours.findIndex(({ keepAlive, head }) => !keepAlive || head.method === "CONNECT");
  const count = last === -1 ? Math.max(ours.length, answers.length) : last + 1;
  for (let i = 0; i < count; i++) {
    const event = ours[i];
    const mine = event && { method: event.head.method, target: event.head.target, authority: event.head.authority };
    const aspect = differ(mine, answers[i]);
    if (aspect === undefined) continue;
    const theirs = answers[i];
    return {
      peer: peer.name,
      kind: "request",
      aspect,
      ours: outcome,
      inContent: messages.length > ours.length,
      mine: mine && { ...mine, minor: event.minor, form: event.form },
      theirs,
      input: text(input),
    };
  }
  return undefined;
}

function differ(mine: ReadRequest | undefined, theirs: Answer | undefined): Disagreement["aspect"] | undefined {
  const taken = theirs?.status === 200;
  if (mine === undefined) return taken ? "taken" : undefined;
  if (!taken) return theirs === undefined ? "silent" : "refused";
  const [method = "", url = "", ...host] = theirs.body.trimEnd().split(" ");
  // Without Host the target's authority is told with the target.
  const named = host.join(" ") || (/^https?:\/\/([^/?]*)/i.exec(url)?.[1] ?? "");
  return method === mine.method && sameTarget(mine, url) && sameHost(mine, named) ? undefined : "read";
}

/** An absolute form is told whole by some. */
function sameTarget({ target }: ReadRequest, url: string): boolean {
  const path = url.replace(/^https?:\/\/[^/?]*/i, "");
  return path === target || (path === "" && ["/", "*"].includes(target)) || `/${path}` === target;
}

/** Some tell the port, and some leave out a dot at the end. */
function sameHost({ authority }: ReadRequest, host: string): boolean {
  const bare = (text: string) => text.toLowerCase().replace(/\.?(:[0-9]*)?$/, "");
  return bare(host) === bare(authority);
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
