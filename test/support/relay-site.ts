/** A site at the edge for tests: a real workerd that runs the relay, called from outside as a control plane and as an isolate. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EdgeDistribution, SiteStatus, SiteTarget } from "../../controlplane/distribute/index.ts";
import { controlFrame, type RelayHello, type RelayMessage } from "../../gateway/core/ir/index.ts";
import { ok } from "../../gateway/core/result.ts";
import type { Running } from "../tools/processes.ts";
import { freePort } from "./gateway.ts";
import { startWorkerd } from "./workerd.ts";

export const RELAY_TOKEN = "relay-token-of-the-test";
const WAIT_MS = 30_000;
const POLL_MS = 10;

type ShownAnswer =
  | { readonly kind: "none" | "unchanged" }
  | {
      readonly kind: "snapshot";
      readonly version: string;
      readonly manifest: string;
      readonly roots: readonly string[];
      readonly chunks: readonly { readonly hash: string; readonly content: string }[];
    };

export interface TestSiteOptions {
  readonly pin: string;
  readonly audience?: string;
  readonly floor?: string;
}

export class TestSite {
  readonly port: number;
  readonly directory: string;
  readonly #options: TestSiteOptions;
  #workerd: Running | undefined;

  private constructor(port: number, options: TestSiteOptions) {
    this.port = port;
    this.#options = options;
    this.directory = mkdtempSync(join(tmpdir(), "tidegate-site-"));
  }

  static async start(options: TestSiteOptions): Promise<TestSite> {
    const site = new TestSite(await freePort(), options);
    await site.run();
    return site;
  }

  /** On the port and with the storage that it had before. */
  async run(change: Partial<TestSiteOptions> = {}): Promise<void> {
    const { pin, audience = "ingress", floor } = { ...this.#options, ...change };
    const text = (value: string) => ({ kind: "text", value }) as const;
    this.#workerd = await startWorkerd(this.directory, {
      workers: [
        {
          name: "site",
          entry: "test/edge/workers/relay.ts",
          bindings: {
            SITE: text("europe"),
            AUDIENCE: text(audience),
            TRUST_ROOT: text(pin),
            SITE_HOST: text(`127.0.0.1:${this.port}`),
            ...(floor !== undefined && { SNAPSHOT_FLOOR: text(floor) }),
            RELAY_TOKEN: text(RELAY_TOKEN),
            RELAY: { kind: "durableObject", className: "SnapshotRelay" },
          },
          durableObjects: ["SnapshotRelay"],
        },
      ],
      sockets: [{ name: "http", address: `127.0.0.1:${this.port}`, service: "site" }],
      storage: "storage",
    });
  }

  target(change: Partial<SiteTarget> = {}): SiteTarget {
    return { name: "europe", url: `http://127.0.0.1:${this.port}`, audience: "ingress", token: ok(RELAY_TOKEN), ...change };
  }

  /** As an isolate. */
  async current(have?: string): Promise<ShownAnswer> {
    return (await (await this.get("/current", have)).json()) as ShownAnswer;
  }

  /** As an isolate. */
  async watch(have: string | undefined, waitMs: number): Promise<ShownAnswer> {
    return (await (await this.get(`/watch?waitMs=${waitMs}`, have)).json()) as ShownAnswer;
  }

  async instance(): Promise<string> {
    return await (await this.get("/instance")).text();
  }

  get(path: string, have?: string): Promise<Response> {
    const url = new URL(path, `http://127.0.0.1:${this.port}`);
    if (have !== undefined) url.searchParams.set("have", have);
    return fetch(url);
  }

  /** As a control plane over HTTPS. */
  relay(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}/.tidegate/relay${path}`, {
      ...init,
      headers: { authorization: `Bearer ${RELAY_TOKEN}`, ...init.headers },
    });
  }

  async state(): Promise<RelayHello> {
    return (await (await this.relay("/state")).json()) as RelayHello;
  }

  /** As a control plane over a WebSocket: frames in, frames out. */
  async dial(token = RELAY_TOKEN): Promise<RawRelay> {
    const raw = new RawRelay(this.port, token);
    await raw.opened;
    return raw;
  }

  output(): string {
    return this.#workerd?.output() ?? "";
  }

  async kill(): Promise<void> {
    await this.#workerd?.stop("SIGKILL");
  }

  async end(): Promise<void> {
    await this.#workerd?.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A control plane's connection as a test plays it. */
export class RawRelay {
  readonly messages: RelayMessage[] = [];
  readonly opened: Promise<void>;
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  readonly #socket: WebSocket;

  constructor(port: number, token: string) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}/.tidegate/relay`, { headers: { authorization: `Bearer ${token}` } });
    this.opened = new Promise((resolve, reject) => {
      this.#socket.addEventListener("open", () => resolve());
      this.#socket.addEventListener("error", () => reject(new Error("no WebSocket")));
    });
    this.closed = new Promise((resolve) =>
      this.#socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason })),
    );
    this.#socket.addEventListener("message", ({ data }) => this.messages.push(JSON.parse(String(data)) as RelayMessage));
  }

  send(frame: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(frame);
  }

  /** Sends every trust root and the manifest. */
  offer(roots: readonly Uint8Array[], jws: Uint8Array): void {
    for (const root of roots) this.send(controlFrame({ type: "root", document: Buffer.from(root).toString() }));
    this.send(controlFrame({ type: "manifest", jws: Buffer.from(jws).toString() }));
  }

  /** The first message of the type. */
  async heard<T extends RelayMessage["type"]>(type: T): Promise<Extract<RelayMessage, { type: T }>> {
    const found = await until(
      () => this.messages.find((message) => message.type === type),
      () => this.messages,
    );
    return found as Extract<RelayMessage, { type: T }>;
  }

  close(): void {
    this.#socket.close();
  }
}

/** Resolves with the first truthy answer; rejects with what `show` says when it takes too long. */
export async function until<T>(ask: () => T | Promise<T>, show: () => unknown, withinMs = WAIT_MS): Promise<NonNullable<T>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${JSON.stringify(show(), null, 1)}`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** Resolves when the edge's one site is as wanted. */
export async function untilSite(edge: EdgeDistribution, wanted: (site: SiteStatus) => boolean): Promise<SiteStatus> {
  return await until(
    () => edge.status().find(wanted),
    () => edge.status(),
  );
}
