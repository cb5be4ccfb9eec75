/** A case over real sockets: the client's bytes, and origins that play its script. */
import { createServer, type Server } from "node:net";
import type { RequestHead } from "../../gateway/core/index.ts";
import { RequestParser, RequestParserSettings } from "../../gateway/wire/index.ts";
import { listening } from "../support/gateway.ts";
import type { Case, OriginBehaviour } from "./case.ts";
import type { Seen } from "./compare.ts";

const OK: OriginBehaviour = { status: 200, body: "ok" };

/**
 * All origins of a case: one port each, one script for all, in the order in which requests come. Copies for mirrors take no part of it; where an
 * endpoint gets both, the first to come counts as the copy, being the same.
 */
export class Origins {
  #seen: { to: string; head: RequestHead; body: string }[] = [];
  #mirrored: string[] = [];
  #attempts = 0;
  #skips: (attempt: number) => boolean = () => false;
  #test: Pick<Case, "origin" | "expect"> = { expect: { status: 200 } };
  readonly #keepAlive: boolean;
  readonly #servers = new Map<string, Server>();
  readonly #ports = new Map<string, number>();

  constructor({ keepAlive = true }: { readonly keepAlive?: boolean } = {}) {
    this.#keepAlive = keepAlive;
  }

  /** Begins a case. @param skips whether an attempt (from 0) of the script is played by somebody else: nothing of it gets here */
  play(test: Case, skips: (attempt: number) => boolean = () => false): void {
    this.#test = test;
    this.#skips = skips;
    this.#seen = [];
    this.#mirrored = [];
    this.#attempts = 0;
  }

  get seen(): Seen["upstream"] {
    return this.#seen;
  }
  /** In the order in which the case names them. */
  get mirrored(): readonly string[] {
    return [...new Set(this.#test.expect.mirrored)].flatMap((name) => this.#mirrored.filter((to) => to === name));
  }
  /** What the case expects to arrive has arrived. */
  get isComplete(): boolean {
    const { upstream, mirrored = [] } = this.#test.expect;
    return this.#seen.length >= (upstream?.length ?? 0) && this.#mirrored.length >= mirrored.length;
  }

  close(): void {
    for (const server of this.#servers.values()) server.close();
  }

  /** The port on which the origin with this made-up address listens. */
  async port(name: string): Promise<number> {
    const known = this.#ports.get(name);
    if (known !== undefined) return known;
    const server = createServer((socket) => {
      const parser = new RequestParser(new RequestParserSettings());
      let head: RequestHead | undefined;
      let body = "";
      socket.on("error", () => undefined);
      socket.on("data", (bytes: Uint8Array) => {
        parser.feed(bytes);
        for (let event = parser.next(); event.kind !== "need"; event = parser.next()) {
          if (event.kind === "error") return socket.destroy();
          if (event.kind === "head") head = event.head;
          if (event.kind === "body") body += Buffer.from(event.bytes).toString();
          if (event.kind !== "end" || head === undefined) continue;
          const answer = this.#answer(name, head, body);
          if (answer === "reset") return socket.destroy();
          if (answer !== "silence") socket.write(answer, "latin1", () => this.#keepAlive || socket.end());
          head = undefined;
          body = "";
        }
        return socket;
      });
    });
    const port = await listening(server);
    this.#servers.set(name, server);
    this.#ports.set(name, port);
    return port;
  }

  #answer(to: string, head: RequestHead, body: string): string {
    const count = (list: readonly string[]) => list.filter((name) => name === to).length;
    if (count(this.#mirrored) < count(this.#test.expect.mirrored ?? [])) {
      this.#mirrored.push(to);
      return this.#bytesOf({ status: 200, body: "copied" }, head.method);
    }
    this.#seen.push({ to, head, body });
    return this.#next(head.method);
  }

  #next(method: string): string {
    const script = this.#test.origin ?? [OK];
    while (this.#attempts < script.length && this.#skips(this.#attempts)) this.#attempts++;
    const behaviour = script[Math.min(this.#attempts++, script.length - 1)] ?? OK;
    if ("hangs" in behaviour) return "silence";
    if ("fails" in behaviour) return behaviour.fails === "upstream_protocol" ? "HTTP/9 ok\r\n\r\n" : "reset";
    return this.#bytesOf(behaviour, method);
  }

  #bytesOf({ status, fields = [], body }: Extract<OriginBehaviour, { status: number }>, method: string): string {
    const lines = [`HTTP/1.1 ${status} Scripted`];
    if (status !== 204 && status !== 304) lines.push(`content-length: ${body?.length ?? 0}`);
    if (!this.#keepAlive && !fields.includes("connection")) lines.push("connection: close");
    for (let i = 0; i < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
    return `${lines.join("\r\n")}\r\n\r\n${method === "HEAD" ? "" : (body ?? "")}`;
  }
}

/** The request as bytes; the connection is closed behind it, so that the answer ends with it. @param more fields that the runner adds */
export function bytesOfRequest({ request }: Case, more: readonly string[] = []): string {
  const { method = "GET", target = "/", authority = "shop.example.com", minor = 1, body } = request;
  const fields = [...(request.fields ?? []), ...more];
  const lines = [`${method} ${target} HTTP/1.${minor}`];
  if (authority !== "") lines.push(`host: ${authority}`);
  let closes = false;
  for (let i = 0; i < fields.length; i += 2) {
    const isConnection = fields[i] === "connection";
    closes ||= isConnection;
    lines.push(`${fields[i]}: ${fields[i + 1]}${isConnection ? ", close" : ""}`);
  }
  if (!closes) lines.push("connection: close");
  if (body !== undefined) lines.push(`content-length: ${body.length}`);
  return `${lines.join("\r\n")}\r\n\r\n${body ?? ""}`;
}

/** Fields of the connection to this client, which the next hop writes anew. */
const OWN_HOP = new Set(["connection", "keep-alive"]);

/** @param received Latin-1 text of everything up to the end of the connection */
export function responseOfBytes(received: string): NonNullable<Seen["response"]> {
  const end = received.indexOf("\r\n\r\n");
  const [status = "", ...lines] = received.slice(0, end).split("\r\n");
  const fields = lines.flatMap((line) => {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    return OWN_HOP.has(name) ? [] : [name, line.slice(colon + 1).trim()];
  });
  return { status: Number(status.split(" ")[1]), fields, body: Buffer.from(received.slice(end + 4), "latin1").toString("utf8") };
}
