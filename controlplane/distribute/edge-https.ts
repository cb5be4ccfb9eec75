/**
 * The fallback where no WebSocket gets through: the same conversation, carried by requests. What a relay would say unasked is found by asking for its
 * state now and then.
 */
import {
  type ControlMessage,
  MAX_RELAY_TEXT,
  type RelayHello,
  type RelayMessage,
  type RelayOffer,
  readRelayMessage,
} from "../../gateway/core/ir/index.ts";
import type { SiteLink } from "./edge-conversation.ts";
import { relayUrl, type SiteAddress, type SocketEvents } from "./edge-socket.ts";
import { sameSnapshot } from "./session.ts";

export interface HttpsTiming {
  /** Within which a request has to be answered. */
  readonly requestMs: number;
  /** How often the relay's state is asked for. */
  readonly pollMs: number;
  /** How long the fallback is used before the WebSocket is tried again. */
  readonly upgradeAgainMs: number;
}
const HTTPS_TIMING: HttpsTiming = { requestMs: 30_000, pollMs: 2_000, upgradeAgainMs: 60_000 };

export class HttpsExchange implements SiteLink {
  readonly #address: SiteAddress;
  readonly #events: SocketEvents;
  readonly #timing: HttpsTiming;
  readonly #stop = new AbortController();
  readonly #queue: ControlMessage[] = [];
  #roots: string[] = [];
  #offer: RelayOffer | undefined;
  /** As the conversation knows the relay. */
  #known: RelayHello | undefined;
  #reason = "ended";
  #wake: () => void = () => undefined;

  constructor(address: SiteAddress, events: SocketEvents, timing = HTTPS_TIMING) {
    this.#address = address;
    this.#events = events;
    this.#timing = timing;
  }

  send(message: ControlMessage): void {
    // A newer offer takes the place of what was on its way for an older one.
    if (message.type === "manifest") this.#queue.length = 0;
    if (message.type === "root") this.#roots.push(message.document);
    else this.#queue.push(message);
    this.#wake();
  }

  end(reason: string): void {
    this.#reason = reason;
    this.#stop.abort();
    this.#wake();
  }

  /** Until it fails, is ended, or the time has come to try the WebSocket again. */
  async run(): Promise<{ readonly opened: boolean; readonly reason: string | undefined }> {
    let opened = false;
    const again = performance.now() + this.#timing.upgradeAgainMs;
    try {
      const hello = await this.#state();
      opened = true;
      this.#events.opened(this);
      this.#known = hello;
      this.#events.received(hello);
      while (!this.#stop.signal.aborted) {
        await this.#work();
        if (performance.now() > again) return { opened, reason: undefined };
        await this.#pause(this.#timing.pollMs);
        if (this.#queue.length === 0) this.#compare(await this.#state());
      }
      return { opened, reason: this.#reason };
    } catch (error) {
      return { opened, reason: this.#stop.signal.aborted ? this.#reason : reasonOf(error) };
    }
  }

  async #work(): Promise<void> {
    for (let message = this.#queue.shift(); message !== undefined; message = this.#queue.shift()) {
      if (message.type === "manifest") {
        this.#offer = { roots: this.#roots, jws: message.jws };
        await this.#makeOffer();
      } else if (message.type === "chunk") {
        const answer = await this.#request("PUT", `/chunks/${message.hash}`, message.content);
        if (answer !== undefined) this.#answered(answer);
        else if (this.#queue.length === 0) await this.#makeOffer();
      }
    }
  }

  async #makeOffer(): Promise<void> {
    const offer = this.#offer;
    if (offer === undefined) return;
    const answer = await this.#request("POST", "/offer", JSON.stringify(offer));
    if (answer === undefined) throw new Error("the relay did not say what became of an offer");
    this.#offer = { ...offer, roots: [] };
    this.#roots = [];
    this.#answered(answer);
  }

  #answered(answer: RelayMessage): void {
    if (answer.type !== "need") this.#offer = undefined;
    if (answer.type === "ack" && this.#known !== undefined)
      this.#known = { ...this.#known, held: answer.snapshot, enforced: false };
    this.#events.received(answer);
  }

  /** Says what the relay would have said over a WebSocket. */
  #compare(now: RelayHello): void {
    const before = this.#known;
    this.#known = now;
    const { held } = now;
    if (held === undefined) return;
    const same = sameSnapshot(before?.held, held);
    if (!same) this.#events.received({ type: "ack", snapshot: held });
    if (now.enforced && !(same && before?.enforced)) {
      this.#events.received({ type: "enforced", snapshot: held, watchers: 0, returned: 0 });
    }
  }

  async #state(): Promise<RelayHello> {
    const answer = await this.#request("GET", "/state");
    if (answer?.type !== "hello") throw new Error("the relay did not answer with its state");
    return answer;
  }

  async #request(method: string, path: string, body?: string | Uint8Array): Promise<RelayMessage | undefined> {
    const { url, token } = this.#address;
    const response = await fetch(relayUrl(url, path), {
      method,
      redirect: "manual",
      headers: { authorization: `Bearer ${token}`, ...(method === "POST" && { "content-type": "application/json" }) },
      signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#timing.requestMs)]),
      ...(body !== undefined && { body: body as string | Uint8Array<ArrayBuffer> }),
    });
    if (response.status === 204) return undefined;
    const text = await readText(response);
    if (response.status !== 200) throw new Error(refusalOf(response.status, text));
    const message = readRelayMessage(text);
    if (message.ok) return message.value;
    throw new Error(
      `the relay's answer cannot be read: ${message.error.map(({ path: at, problem }) => `${at}: ${problem}`).join("; ")}`,
    );
  }

  async #pause(ms: number): Promise<void> {
    if (this.#queue.length > 0 || this.#stop.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** @throws Error when there is more than any message holds. */
async function readText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.byteLength;
    if (length > MAX_RELAY_TEXT) throw new Error(`the relay's answer has more than ${MAX_RELAY_TEXT} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

const MAX_DETAIL = 300;

function refusalOf(status: number, text: string): string {
  if (status === 401) return "the site refuses the relay token: it must be the one in the Worker's secret RELAY_TOKEN";
  if (status >= 300 && status < 400)
    return `the site answers with a redirect (${status}); redirects are not followed: give its own address in spec.url`;
  if (status === 404) return "there is no relay at the site's address (404): is the edge Worker deployed there?";
  return `the site answers with status ${status}${detailOf(text)}`;
}

function detailOf(text: string): string {
  try {
    const { detail } = JSON.parse(text) as { readonly detail?: unknown };
    return typeof detail === "string" ? `: ${detail.slice(0, MAX_DETAIL)}` : "";
  } catch {
    return "";
  }
}

/** `fetch` hides what happened behind "fetch failed". */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return "the site did not answer in time";
  const { cause } = error;
  return cause instanceof Error
    ? `the site cannot be reached: ${cause.message || ("code" in cause ? String(cause.code) : cause.name)}`
    : error.message;
}
