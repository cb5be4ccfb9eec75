/**
 * The case table against the Node gateway: real sockets for client and origins.
 *
 * Left out is what needs dice or a clock of the test's own, TLS, and failures of a connection that no origin can be asked to have; the core's run has those.
 */
import { createServer, type Server } from "node:net";
import { describe, expect, it } from "vitest";
import type { RequestHead } from "../../gateway/core/index.ts";
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import { RequestParser, RequestParserSettings } from "../../gateway/wire/index.ts";
import type { Case, OriginBehaviour } from "../conformance/case.ts";
import { CASES } from "../conformance/cases/index.ts";
import { compareSeen, type Seen } from "../conformance/compare.ts";
import { eventually, freePort, listening, RawClient, testGateway } from "../support/gateway.ts";

/** Cases that the Node gateway does not pass, with the reason. The list only shrinks: one that passes fails here. */
const KNOWN_FAILURES: ReadonlyMap<string, string> = new Map([
  ["backslashes are slashes", "the codec refuses a backslash before the core sees it"],
]);

/** Between finding a free port and binding it somebody else may take it. */
const FREE_PORT_RACE = { retry: 2 };

function playable({ request, origin, dice, expect: expected }: Case): boolean {
  const answers = (origin ?? []).every((behaviour) => "status" in behaviour);
  const ownClock =
    (expected.tookMs ?? 0) > 0 || expected.fields?.["date"] !== undefined || expected.flags?.includes("DI") === true;
  return answers && dice === undefined && !ownClock && request.scheme !== "https" && request.method !== "CONNECT";
}

/** All origins of a case: one port each, one script for all, in the order in which requests come. */
class Origins {
  readonly seen: { to: string; head: RequestHead; body: string }[] = [];
  readonly #servers = new Map<string, Server>();
  readonly #ports = new Map<string, number>();
  readonly #script: readonly OriginBehaviour[];

  constructor(script: readonly OriginBehaviour[]) {
    this.#script = script;
  }

  /** The snapshot with a listening port in place of each made-up endpoint. */
  async listen(snapshot: Snapshot): Promise<Snapshot> {
    const endpoints = [];
    for (const entry of snapshot.endpoints) {
      const real = [];
      for (const endpoint of entry.endpoints) {
        real.push({ ...endpoint, address: "127.0.0.1", port: await this.#port(`${endpoint.address}:${endpoint.port}`) });
      }
      endpoints.push({ ...entry, endpoints: real });
    }
    return { ...snapshot, endpoints };
  }

  close(): void {
    for (const server of this.#servers.values()) server.close();
  }

  async #port(name: string): Promise<number> {
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
          this.seen.push({ to: name, head, body });
          socket.write(this.#answer(head.method), "latin1");
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

  #answer(method: string): string {
    const behaviour = this.#script[Math.min(this.seen.length, this.#script.length) - 1];
    const { status, fields, body } =
      behaviour !== undefined && "status" in behaviour ? behaviour : { status: 200, fields: undefined, body: "ok" };
    const lines = [`HTTP/1.1 ${status} Scripted`, `content-length: ${body?.length ?? 0}`];
    for (let i = 0; i < (fields?.length ?? 0); i += 2) lines.push(`${fields?.[i]}: ${fields?.[i + 1]}`);
    return `${lines.join("\r\n")}\r\n\r\n${method === "HEAD" ? "" : (body ?? "")}`;
  }
}

/** The request as bytes; the connection is closed behind it, so that the answer ends with it. */
function bytesOf({ request }: Case): string {
  const { method = "GET", target = "/", authority = "shop.example.com", minor = 1, body, fields = [] } = request;
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

function responseOf(received: string): NonNullable<Seen["response"]> {
  const end = received.indexOf("\r\n\r\n");
  const [status = "", ...lines] = received.slice(0, end).split("\r\n");
  const fields = lines.flatMap((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status: Number(status.split(" ")[1]), fields, body: Buffer.from(received.slice(end + 4), "latin1").toString("utf8") };
}

/** Fields of the connection to this client, which the next hop writes anew. */
const OWN_HOP = new Set(["connection", "keep-alive"]);

async function run(test: Case): Promise<Seen> {
  const origins = new Origins(test.origin ?? []);
  const gateway = testGateway();
  const port = await freePort();
  const snapshot = await origins.listen(test.snapshot);
  const listeners = snapshot.listeners
    .filter(({ protocol }) => protocol === "http")
    .map((listener) => ({ ...listener, name: `127.0.0.1:${port}`, port }));
  const settings = { ...snapshot.settings, accessLog: { enabled: false, path: "-" } };
  await gateway.install({ ...snapshot, settings, listeners }, "1.7");
  const client = new RawClient(port);
  try {
    // The peer of every case but those that say otherwise is here the loopback address.
    const response = responseOf(await client.send(bytesOf(test)).end());
    const expectedMirrors = test.expect.mirrored ?? [];
    const attempts = test.expect.upstream?.length ?? (expectedMirrors.length > 0 ? 1 : origins.seen.length);
    await eventually(() => origins.seen.length >= attempts + expectedMirrors.length);
    const upstream = [...origins.seen];
    const mirrored: string[] = [];
    for (const name of expectedMirrors) {
      const at = upstream.findLastIndex(({ to }) => to === name);
      if (at !== -1) mirrored.push(...upstream.splice(at, 1).map(({ to }) => to));
    }
    const fields = response.fields.filter((_, i) => !OWN_HOP.has(response.fields[i - (i % 2)]!));
    return { upstream, mirrored, response: { ...response, fields } };
  } finally {
    client.close();
    await gateway.engine.drain(0);
    origins.close();
  }
}

/** The test's client is not 192.0.2.1. */
function fromLoopback(test: Case): Case {
  return JSON.stringify(test.expect).includes("192.0.2.1") ? { ...test, expect: replaced(test.expect) } : test;
}

function replaced<T>(value: T): T {
  if (typeof value === "string") return value.replaceAll("192.0.2.1", "127.0.0.1") as T;
  if (value instanceof RegExp || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(replaced) as T;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, replaced(part)])) as T;
}

for (const [group, cases] of Object.entries(CASES)) {
  const chosen = cases.filter(playable).map((test) => [test.name, fromLoopback(test)] as const);
  if (chosen.length === 0) continue;
  describe(group, () => {
    it.each(chosen.filter(([name]) => !KNOWN_FAILURES.has(name)))("%s", FREE_PORT_RACE, async (_, test) => {
      compareSeen(test, await run(test));
    });
    it.fails.each(chosen.filter(([name]) => KNOWN_FAILURES.has(name)))("%s", { timeout: 2000 }, async (_, test) => {
      compareSeen(test, await run(test));
    });
  });
}

it("plays most of the table", () => {
  const all = Object.values(CASES).flat();
  expect(all.filter(playable).length).toBeGreaterThan(all.length / 2);
});
