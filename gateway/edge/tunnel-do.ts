/**
 * TunnelHub: the Durable Object in which the gateways of one cluster are met, one object per cluster.
 *
 * Gateways keep WebSockets open to it; requests from isolates go to the one with the fewest in flight. A gateway that drains is given no more and finishes
 * what it has. Between requests the object may sleep (its sockets stay open): a session without streams is two numbers, kept with its socket.
 *
 * Never: holds more of a body than the windows allow, sends a request twice, or looks into one. Who may connect was decided before (acceptTunnel).
 */
import { DurableObject } from "cloudflare:workers";
import { base64url } from "jose";
import { asciiJson, decodeFrame, encodeFrame, type RequestHead } from "../core/index.ts";
import { FAILURE_FIELD, HEAD_FIELD } from "./tunnel.ts";
import { MAX_TUNNEL_CONNECTIONS, MAX_TUNNEL_WAITING, TUNNEL_WAIT_MS } from "./tunnel-limits.ts";
import { HubLink } from "./tunnel-link.ts";
import type { HubAnswer } from "./tunnel-stream.ts";

type Failure = Extract<HubAnswer, { readonly kind: "failure" }>;

export class TunnelHub extends DurableObject<unknown> {
  readonly #links = new Map<WebSocket, HubLink>();
  readonly #waiting = new Set<() => void>();

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env);
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    for (const socket of ctx.getWebSockets()) this.#links.set(socket, new HubLink(socket));
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("upgrade") !== null) return this.#connect();
    const head = readHead(request);
    if (head === undefined) return new Response("a request comes with its head in a field\n", { status: 400 });
    return answered(await this.#forward(head, request));
  }

  override webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): void {
    this.#links.get(socket)?.received(message);
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    this.#lost(socket, `the gateway closed its connection (${code}${reason === "" ? "" : `, ${reason}`})`);
  }

  override webSocketError(socket: WebSocket, error: unknown): void {
    this.#lost(socket, `the connection to the gateway failed: ${error instanceof Error ? error.message : String(error)}`);
  }

  #connect(): Response {
    if (this.#links.size >= MAX_TUNNEL_CONNECTIONS)
      return new Response(`${MAX_TUNNEL_CONNECTIONS} connections are open for this cluster\n`, { status: 503 });
    const { 0: theirs, 1: ours } = new WebSocketPair();
    this.ctx.acceptWebSocket(ours);
    this.#links.set(ours, new HubLink(ours));
    for (const wake of this.#waiting) wake();
    return new Response(null, { status: 101, webSocket: theirs });
  }

  #lost(socket: WebSocket, reason: string): void {
    this.#links.get(socket)?.lost(reason);
    this.#links.delete(socket);
  }

  async #forward(head: RequestHead, request: Request): Promise<HubAnswer> {
    const link = this.#leastLoaded() ?? (await this.#nextLink());
    if (link === undefined) return unconnected(this.#links.size);
    const stream = link.open(head);
    request.signal.addEventListener("abort", () => stream.giveUp("the client has gone"));
    if (head.body.kind !== "none") {
      // The body moves beside the response: either may be over first.
      if (request.body === null) link.end(stream.id);
      else this.ctx.waitUntil(stream.pump(request.body));
    }
    return stream.answer;
  }

  #leastLoaded(): HubLink | undefined {
    let least: HubLink | undefined;
    for (const link of this.#links.values()) {
      if (link.load !== undefined && (least?.load === undefined || link.load < least.load)) least = link;
    }
    return least;
  }

  /** Waits for a gateway to connect. */
  async #nextLink(): Promise<HubLink | undefined> {
    if (this.#waiting.size >= MAX_TUNNEL_WAITING) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, TUNNEL_WAIT_MS);
    this.#waiting.add(resolve);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(resolve);
    return this.#leastLoaded();
  }
}

function unconnected(links: number): Failure {
  return links === 0
    ? {
        kind: "failure",
        failure: { code: "upstream_connect", reason: "no gateway of the cluster is connected", neverSent: true },
      }
    : { kind: "failure", failure: { code: "upstream_overflow", reason: "no connection takes another request", neverSent: true } };
}

function readHead(request: Request): RequestHead | undefined {
  try {
    const frame = decodeFrame(base64url.decode(request.headers.get(HEAD_FIELD) ?? ""));
    return frame.ok && frame.value.kind === "open" ? frame.value.head : undefined;
  } catch {
    return undefined;
  }
}

function answered(answer: HubAnswer): Response {
  if (answer.kind === "failure") return new Response(null, { headers: { [FAILURE_FIELD]: asciiJson(answer.failure) } });
  const head = base64url.encode(encodeFrame({ kind: "head", stream: 1, head: answer.head }));
  return new Response(answer.body, { headers: { [HEAD_FIELD]: head } });
}
