/** Responses as our parser and a proxy read them: what of an origin's bytes reaches a client of the proxy. */
import { createServer, type Server } from "node:net";
import { ResponseParser, ResponseParserSettings } from "../../../gateway/wire/index.ts";
import { listening } from "../../support/gateway.ts";
import { transcribeResponses } from "../../wire/transcript.ts";
import type { Disagreement } from "./disagreements.ts";
import { answersIn, tell } from "./exchange.ts";
import type { RunningPeer } from "./peers.ts";

const settings = new ResponseParserSettings();

/** Answers `GET /<n>` with the bytes that are kept under n, and ends. */
export class ByteOrigin {
  readonly #kept = new Map<number, Uint8Array>();
  readonly #server: Server;
  #next = 0;
  port = 0;

  constructor() {
    this.#server = createServer((socket) => {
      let head = "";
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => {
        head += bytes.toString("latin1");
        const index = /^GET \/(\d+) [\s\S]*\r\n\r\n$/.exec(head)?.[1];
        if (index !== undefined) socket.end(this.#kept.get(Number(index)) ?? "");
      });
    });
  }

  async start(): Promise<this> {
    this.port = await listening(this.#server);
    return this;
  }

  keep(bytes: Uint8Array): number {
    this.#kept.set(this.#next, bytes);
    return this.#next++;
  }

  drop(index: number): void {
    this.#kept.delete(index);
  }

  stop(): void {
    this.#server.close();
  }
}

export async function compareResponse(
  peer: RunningPeer,
  origin: ByteOrigin,
  input: Uint8Array,
): Promise<Disagreement | undefined> {
  const { messages, outcome } = transcribeResponses(new ResponseParser(settings), [input], "GET", true);
  const mine = messages.find(({ event }) => event.head.status >= 200 || event.head.status === 101);
  const index = origin.keep(input);
  const request = Buffer.from(`GET /${index} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  const [theirs] = answersIn(await tell(peer.relayPort, request, false), ["GET"]);
  origin.drop(index);
  const whole = mine?.ended === true && mine.event.head.status !== 101;
  const passed = theirs !== undefined && theirs.status !== 502 && theirs.ended;
  const aspect = whole
    ? !passed
      ? mine.event.head.status === 502 && theirs?.status === 502
        ? undefined
        : "refused"
      : theirs.status === mine.event.head.status && theirs.body === mine.body
        ? undefined
        : "read"
    : passed
      ? "taken"
      : undefined;
  if (aspect === undefined) return undefined;
  return {
    peer: peer.name,
    kind: "response",
    aspect,
    ours: outcome,
    inContent: mine !== undefined && !mine.ended,
    status: mine?.event.head.status,
    theirs,
    input: Buffer.from(input).toString("latin1"),
  };
}
