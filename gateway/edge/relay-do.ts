/**
 * SnapshotRelay: one object per site. The control plane keeps a hibernatable WebSocket to it (HTTPS is the fallback), isolates call it over RPC.
 * What may be taken is the relay's judgement (relay.ts), what it remembers is in SQLite (relay-store.ts); here are the sockets, requests, alarms and
 * waiting isolates between which it all happens. The object may end and begin again between any two events.
 */
import { DurableObject } from "cloudflare:workers";
import { asciiJson, compile, compileEgress } from "../core/index.ts";
import {
  type ControlMessage,
  EDGE_SNAPSHOT_LIMITS,
  type HeldSnapshot,
  isChunkHash,
  MAX_CONTROL_TEXT,
  MAX_RELAY_HASHES,
  READER_VERSION,
  RELAY_PATH,
  RELAY_PING,
  RELAY_PONG,
  type RelayMessage,
  type RelayProblem,
  readControlMessage,
  readRelayOffer,
  relayFrame,
  snapshotVersion,
} from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import { readSite } from "./env.ts";
import { type OfferAnswer, Relay } from "./relay.ts";
import type { RelayAnswer, RelayChunk, RelayRpc } from "./relay-rpc.ts";
import { SqlRelayStore } from "./relay-store.ts";
import { ENFORCED_WITHIN_MS, Enforcement, RelayWatch } from "./relay-watch.ts";

/** Closing codes for a control plane: 4000 and up are for applications (RFC 6455 7.4.2). */
const CLOSE_REPLACED = 4001;
const CLOSE_MALFORMED = 4002;
const CLOSE_NORMAL = 1000;
const CLOSE_FAILED = 1011;
/** Of ASCII: a close reason has at most 123 bytes (RFC 6455 5.5), and part of it may be what somebody else wrote. */
const MAX_CLOSE_REASON = 120;

const CONTROL = "control";
const REPLACED = "replaced";
/** An alarm that came a moment too early is set again so much later. */
const ALARM_AGAIN_MS = 50;

type Tell = (answer: OfferAnswer) => void;

export class SnapshotRelay extends DurableObject<object> implements RelayRpc {
  readonly #site: string;
  readonly #store: SqlRelayStore;
  readonly #relay: Relay;
  readonly #watch: RelayWatch;
  readonly #enforcement: Enforcement;
  #work: Promise<unknown> = Promise.resolve();

  /** @throws Error naming every binding that is not what it must be. */
  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env);
    const settings = readSite(env);
    if (!settings.ok) throw new Error(settings.error.map(({ path, problem }) => `binding ${path} ${problem}`).join("; "));
    const { site, audience, trustRoot: pin, floor } = settings.value;
    this.#site = site;
    this.#store = new SqlRelayStore(ctx.storage, { audience, pin });
    this.#relay = new Relay({
      ...{ site, audience, pin, floor },
      storage: this.#store,
      unixMs: Date.now,
      software: `tidegate-edge/${READER_VERSION}`,
      trial,
    });
    this.#watch = new RelayWatch((ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    });
    this.#enforcement = new Enforcement(Date.now());
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(RELAY_PING, RELAY_PONG));
  }

  // ── isolates ───────────────────────────────────────────────────────────────

  async current(have: string | undefined): Promise<RelayAnswer> {
    this.#enforcement.asked(Date.now());
    return this.#answer(have);
  }

  async watch(have: string | undefined, waitMs: number): Promise<RelayAnswer> {
    this.#enforcement.asked(Date.now());
    if (have !== undefined) {
      this.#enforcement.returned(have);
      this.#settle();
    }
    const answer = this.#answer(have);
    if (answer.kind === "snapshot") return answer;
    await this.#watch.wait(waitMs);
    return this.#answer(have);
  }

  async chunks(hashes: readonly string[]): Promise<readonly RelayChunk[]> {
    return this.#chunks(hashes.slice(0, MAX_RELAY_HASHES));
  }

  #answer(have: string | undefined): RelayAnswer {
    const current = this.#store.current();
    if (current === undefined) return { kind: "none" };
    const version = snapshotVersion(current.accepted);
    if (have === version || isAhead(have, current.accepted)) return { kind: "unchanged" };
    const previous = this.#store.previous();
    const there = new Set(have !== undefined && previous && snapshotVersion(previous.accepted) === have ? previous.chunks : []);
    const lacking = current.chunks.filter((hash) => !there.has(hash));
    return { kind: "snapshot", version, manifest: current.manifest, roots: this.#store.roots(), chunks: this.#chunks(lacking) };
  }

  /** As many as fit: a whole snapshot always does. */
  #chunks(hashes: readonly string[]): readonly RelayChunk[] {
    const chunks: RelayChunk[] = [];
    let left = EDGE_SNAPSHOT_LIMITS.maxTotalBytes;
    for (const hash of hashes) {
      const bytes = this.#store.chunk(hash);
      if (bytes === undefined) continue;
      left -= bytes.byteLength;
      if (left < 0) break;
      chunks.push({ hash, bytes });
    }
    return chunks;
  }

  // ── the control plane, over a WebSocket ────────────────────────────────────

  /** At and below `RELAY_PATH`. That the caller is a control plane was settled by the Worker in front, before the object was woken. */
  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const rest = pathname.startsWith(RELAY_PATH) ? pathname.slice(RELAY_PATH.length) : undefined;
    if (rest === "") {
      if (request.headers.get("upgrade")?.toLowerCase() === "websocket") return this.#connect();
      return relayProblem(400, "the relay speaks WebSocket here; over HTTPS see /state, /offer and /chunks/<hash>");
    }
    if (rest === "/state" && request.method === "GET") return Response.json(this.#relay.hello());
    if (rest === "/offer" && request.method === "POST") return await this.#postOffer(request);
    const hash = rest?.startsWith("/chunks/") ? rest.slice("/chunks/".length) : undefined;
    if (hash !== undefined && isChunkHash(hash) && request.method === "PUT") return await this.#putChunk(hash, request);
    return relayProblem(404, `nothing at ${request.method} ${pathname}`);
  }

  /** One control plane at a time: the newer connection is the one that is alive. */
  #connect(): Response {
    for (const socket of this.ctx.getWebSockets(CONTROL)) {
      socket.serializeAttachment(REPLACED);
      close(socket, CLOSE_REPLACED, "a newer connection of a control plane took the place of this one");
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [CONTROL]);
    server.send(relayFrame(this.#relay.hello()));
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, frame: string | ArrayBuffer): Promise<void> {
    try {
      await this.#inTurn(async () => {
        if (socket.deserializeAttachment() === REPLACED) return;
        const message = readControlMessage(typeof frame === "string" ? frame : new Uint8Array(frame));
        if (message.ok) await this.#handle(message.value, (answer) => this.#tell(answer));
        else close(socket, CLOSE_MALFORMED, message.error.map(({ path, problem }) => `${path} ${problem}`).join("; "));
      });
    } catch (error) {
      this.#log("a message of the control plane could not be worked on", { reason: String(error) });
      close(socket, CLOSE_FAILED, "the relay failed on this message");
    }
  }

  /** The runtime leaves the answer to a Close frame to the object (RFC 6455 5.5.1). */
  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.#log("the control plane's connection ended", { code, reason });
    close(socket, CLOSE_NORMAL, "");
  }

  override async webSocketError(_socket: WebSocket, error: unknown): Promise<void> {
    this.#log("the control plane's connection broke", { reason: String(error) });
  }

  /** @param tell takes the answer to an offer before isolates hear of it: they may be back at once. */
  async #handle(message: ControlMessage, tell: Tell): Promise<void> {
    switch (message.type) {
      case "root":
        await this.#relay.follow(new TextEncoder().encode(message.document));
        return;
      case "manifest":
        return await this.#judge(() => this.#relay.offered(new TextEncoder().encode(message.jws)), tell);
      case "chunk":
        return await this.#judge(() => this.#relay.chunk(message.hash, message.content), tell);
      default:
        return unreachable(message);
    }
  }

  // ── the control plane, over HTTPS ──────────────────────────────────────────

  async #postOffer(request: Request): Promise<Response> {
    const body = await readBody(request, MAX_CONTROL_TEXT);
    if (body === undefined) return relayProblem(413, `an offer has at most ${MAX_CONTROL_TEXT} bytes`);
    const offer = readRelayOffer(new TextDecoder().decode(body));
    if (!offer.ok) return relayProblem(400, offer.error.map(({ path, problem }) => `${path}: ${problem}`).join("; "));
    return await this.#answering(async (tell) => {
      for (const document of offer.value.roots) await this.#handle({ type: "root", document }, tell);
      await this.#handle({ type: "manifest", jws: offer.value.jws }, tell);
    });
  }

  async #putChunk(hash: string, request: Request): Promise<Response> {
    const { maxChunkBytes } = EDGE_SNAPSHOT_LIMITS;
    const content = await readBody(request, maxChunkBytes);
    if (content === undefined) return relayProblem(413, `a chunk has at most ${maxChunkBytes} bytes`);
    return await this.#answering((tell) => this.#handle({ type: "chunk", hash, content }, tell));
  }

  async #answering(work: (tell: Tell) => Promise<void>): Promise<Response> {
    let answer: RelayMessage | undefined;
    await this.#inTurn(() =>
      work((told) => {
        answer = told;
      }),
    );
    return answer === undefined ? new Response(null, { status: 204 }) : Response.json(answer);
  }

  // ── what follows ───────────────────────────────────────────────────────────

  override async alarm(): Promise<void> {
    const due = () => this.#relay.due();
    await this.#inTurn(() => this.#judge(due, (answer) => this.#tell(answer)));
    await this.#setAlarm();
  }

  /** Judges, says what came of it, and when that changed what is held, tells the isolates that wait. */
  async #judge(judge: () => Promise<OfferAnswer | undefined>, tell: Tell): Promise<void> {
    const before = this.#store.current()?.accepted.payloadHash;
    const answer = await judge();
    if (answer !== undefined) tell(answer);
    if (answer?.type === "nack")
      this.#log("snapshot refused; what is held stays", { code: answer.code, problems: answer.problems });
    const current = this.#store.current();
    if (current !== undefined && current.accepted.payloadHash !== before) {
      const version = snapshotVersion(current.accepted);
      this.#enforcement.begin(version, this.#watch.wake());
      this.#log("snapshot accepted", { version });
    }
    this.#settle();
    if (answer?.type === "ack" || answer?.type === "deferred") await this.#setAlarm();
  }

  /** Tells the control plane once when the newest snapshot is in force. */
  #settle(): void {
    const current = this.#store.current();
    if (current === undefined || current.enforced) return;
    const enforced = this.#enforcement.settled(current.sinceMs, Date.now());
    if (enforced === undefined) return;
    this.#store.markEnforced();
    const { epoch, version } = current.accepted;
    this.#tell({ type: "enforced", snapshot: { epoch, version }, ...enforced });
  }

  /** For whichever comes first: the time by which isolates have asked, or the beginning of a rollout. */
  async #setAlarm(): Promise<void> {
    const current = this.#store.current();
    const notBeforeS = this.#store.offer()?.notBeforeS;
    const times = [
      ...(current === undefined || current.enforced ? [] : [current.sinceMs + ENFORCED_WITHIN_MS]),
      ...(notBeforeS === undefined ? [] : [notBeforeS * 1000]),
    ];
    if (times.length > 0) await this.ctx.storage.setAlarm(Math.max(Math.min(...times), Date.now() + ALARM_AGAIN_MS));
  }

  #tell(message: RelayMessage): void {
    for (const socket of this.ctx.getWebSockets(CONTROL)) {
      if (socket.deserializeAttachment() !== REPLACED) send(socket, message);
    }
  }

  /** One thing at a time, in the order in which they came. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#work.then(run);
    this.#work = turn.catch(() => undefined);
    return turn;
  }

  #log(message: string, fields: Readonly<Record<string, unknown>>): void {
    console.log(asciiJson({ message, site: this.#site, ...fields }));
  }
}

/** What no isolate could put in force. */
function trial({ snapshot, manifest }: HeldSnapshot): readonly RelayProblem[] {
  const compiled = compile(snapshot, snapshotVersion(manifest), undefined);
  if (!compiled.ok) return compiled.error.map(({ path, problem }) => ({ name: path, reason: problem }));
  if (snapshot.egress === undefined) return [];
  const egress = compileEgress(snapshot.egress, compiled.value.quotas);
  return egress.ok ? [] : egress.error.map(({ path, problem }) => ({ name: `egress.${path}`, reason: problem }));
}

/** An isolate that holds a newer one than this relay is not led back: it would refuse, and ask again at once. */
function isAhead(have: string | undefined, held: { readonly epoch: number; readonly version: number }): boolean {
  const [epoch, version] = (have ?? "").split(".").map(Number);
  return epoch === held.epoch && version !== undefined && version > held.version;
}

function send(socket: WebSocket, message: RelayMessage): void {
  try {
    socket.send(relayFrame(message));
  } catch {
    // The connection is over; the control plane learns it with the next hello.
  }
}

function close(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason.slice(0, MAX_CLOSE_REASON).replace(/[^\x20-\x7e]/g, "?"));
  } catch {
    // It is closed already.
  }
}

/** RFC 9457. */
function relayProblem(status: 400 | 404 | 413, detail: string): Response {
  const title = { 400: "Bad Request", 404: "Not Found", 413: "Content Too Large" }[status];
  const body = JSON.stringify({ type: "about:blank", title, status, detail });
  return new Response(body, { status, headers: { "content-type": "application/problem+json" } });
}

/** @returns undefined: there is more than `max`. */
async function readBody(request: Request, max: number): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request.body ?? []) {
    length += part.byteLength;
    if (length > max) return undefined;
    parts.push(part);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
