/** One site's connection, kept: a WebSocket, HTTPS where the upgrade does not work, and again after a while when neither does. */

import type { Result } from "../../gateway/core/result.ts";
import {
  type After,
  SiteConversation,
  type SiteKnowledge,
  type SiteLink,
  type SiteSnapshots,
  UNKNOWN_SITE,
} from "./edge-conversation.ts";
import { HttpsExchange } from "./edge-https.ts";
import { openSocket, type SiteAddress } from "./edge-socket.ts";

/** A site as configuration names it. */
export interface SiteTarget {
  readonly name: string;
  /** `https://host[:port]`; plain HTTP on loopback only. */
  readonly url: string;
  /** Pool whose snapshots it takes. */
  readonly audience: string;
  /** Bearer token, a secret; or why there is none. */
  readonly token: Result<string, string>;
}

export interface SiteStatus {
  readonly name: string;
  readonly url: string;
  readonly pool: string;
  /** Undefined: not connected. */
  readonly connection: { readonly via: "websocket" | "https"; readonly sinceMs: number } | undefined;
  /** Why there is no connection, or the last one ended. */
  readonly lastError: string | undefined;
  /** Unix ms; undefined: never. */
  readonly lastSeenMs: number | undefined;
  readonly known: SiteKnowledge;
}

export interface ConnectionOptions {
  readonly snapshots: SiteSnapshots;
  /** Unix ms. */
  readonly now: () => number;
  readonly random: () => number;
  readonly onChange: (site: SiteStatus) => void;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

const BACKOFF_BASE_MS = 250;
const BACKOFF_MAX_MS = 30_000;

type Conversation = { readonly conversation: SiteConversation; readonly link: SiteLink };

export class SiteConnection {
  readonly target: SiteTarget;
  readonly #options: ConnectionOptions;
  #known: SiteKnowledge = UNKNOWN_SITE;
  #connection: SiteStatus["connection"];
  #lastError: string | undefined;
  #lastSeenMs: number | undefined;
  #current: Conversation | undefined;
  #attempt = 0;
  #stopped = false;
  #end: (reason: string) => void = () => undefined;
  readonly #done: Promise<void>;

  /** Connects, and stays connected until `close`. */
  constructor(target: SiteTarget, options: ConnectionOptions) {
    this.target = target;
    this.#options = options;
    this.#done = this.#run();
  }

  published(): void {
    this.#current?.conversation.published();
  }

  status(): SiteStatus {
    const { name, url, audience } = this.target;
    return {
      name,
      url,
      pool: audience,
      connection: this.#connection,
      lastError: this.#lastError,
      lastSeenMs: this.#connection === undefined ? this.#lastSeenMs : this.#options.now(),
      known: this.#known,
    };
  }

  async close(): Promise<void> {
    this.#stopped = true;
    this.#end("the control plane does not follow this site any more");
    await this.#done;
  }

  async #run(): Promise<void> {
    const { url, token } = this.target;
    const unfit = unfitUrl(url) ?? (token.ok ? undefined : token.error);
    if (unfit !== undefined || !token.ok) return this.#failed(unfit ?? "");
    while (!this.#stopped) {
      const begun = performance.now();
      const { replaced, reason } = await this.#connect({ url, token: token.value });
      if (this.#stopped) return;
      if (reason === undefined) continue;
      this.#failed(reason);
      // A connection that is cut again and again does not start over with the short wait.
      if (performance.now() - begun > BACKOFF_MAX_MS) this.#attempt = 0;
      await this.#pause(replaced ? BACKOFF_MAX_MS : this.#backoffMs());
    }
  }

  /** @returns why it is over; no reason: it is to be tried again at once. */
  async #connect(address: SiteAddress): Promise<{ readonly replaced: boolean; readonly reason: string | undefined }> {
    const socket = openSocket(address, this.#events("websocket"));
    this.#end = (reason) => socket.end(reason);
    const end = await socket.ended;
    if (end.opened || this.#stopped) {
      this.#over();
      return end;
    }
    const https = new HttpsExchange(address, this.#events("https"));
    this.#end = (reason) => https.end(reason);
    const { reason } = await https.run();
    // When the WebSocket is only tried again, the site is not gone in between.
    if (reason === undefined) this.#current?.conversation.ended();
    else this.#over();
    return { replaced: false, reason };
  }

  #events(via: "websocket" | "https") {
    return {
      opened: (link: SiteLink) => this.#opened(link, via),
      received: (message: Parameters<SiteConversation["received"]>[0]) => this.#current?.conversation.received(message),
    };
  }

  #opened(link: SiteLink, via: "websocket" | "https"): void {
    const { snapshots, now, log } = this.#options;
    const { name, audience } = this.target;
    this.#connection = { via, sinceMs: now() };
    this.#lastError = undefined;
    const options = {
      site: name,
      pool: audience,
      snapshots,
      link,
      now,
      after,
      log,
      onChange: (known: SiteKnowledge) => this.#learned(known),
    };
    this.#current = { link, conversation: new SiteConversation(options, this.#known) };
    log("connected to a site's relay", { site: name, via });
  }

  #learned(known: SiteKnowledge): void {
    if (known.state.kind === "synced") this.#attempt = 0;
    this.#known = known;
    this.#options.onChange(this.status());
  }

  #over(): void {
    if (this.#connection !== undefined) this.#lastSeenMs = this.#options.now();
    this.#current?.conversation.ended();
    this.#current = undefined;
    this.#connection = undefined;
  }

  #failed(reason: string): void {
    if (this.#lastError !== reason) this.#options.log("no connection to a site's relay", { site: this.target.name, reason });
    this.#lastError = reason;
    this.#options.onChange(this.status());
  }

  /** Doubles with every attempt, and is spread over [half, whole] so that a crowd does not come back at once. */
  #backoffMs(): number {
    const whole = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.#attempt++, 30));
    return whole / 2 + (whole / 2) * this.#options.random();
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = after(ms, resolve);
      this.#end = () => {
        cancel();
        resolve();
      };
    });
  }
}

const after: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  timer.unref();
  return () => clearTimeout(timer);
};

/** The bearer token goes nowhere in clear but to this machine. */
function unfitUrl(url: string): string | undefined {
  if (!URL.canParse(url)) return `${url} is no URL: spec.url is https://host[:port]`;
  const { protocol, hostname } = new URL(url);
  const loopback = ["127.0.0.1", "[::1]", "localhost"].includes(hostname);
  if (protocol === "https:" || (protocol === "http:" && loopback)) return undefined;
  return `${url}: a site is reached over https only, since the relay token goes there`;
}
