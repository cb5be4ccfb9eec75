/** The ingress Worker as it ships, over a relay that answers what a test tells it to. */
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import type { RelayAnswer, RelayChunk, RelayRpc } from "../../../gateway/edge/relay-rpc.ts";

export { default, QuotaBank, TunnelHub } from "../../../gateway/edge/ingress.ts";

/** What a test posts: bytes as base64. */
interface PostedAnswer {
  readonly version: string;
  readonly manifest: string;
  readonly roots: readonly string[];
  readonly chunks: readonly { readonly hash: string; readonly bytes: string }[];
}

type Offer = Extract<RelayAnswer, { kind: "snapshot" }>;

export class SnapshotRelay extends DurableObject implements RelayRpc {
  #offer: Offer | undefined;
  #mode = "honest";
  #wake: (() => void)[] = [];
  readonly #asked = { current: 0, watch: 0, chunks: 0 };

  async current(have: string | undefined): Promise<RelayAnswer> {
    this.#asked.current++;
    if (this.#mode === "throws") throw new Error("the relay was told to fail");
    if (this.#offer === undefined) return { kind: "none" };
    return have === this.#offer.version ? { kind: "unchanged" } : { ...this.#offer, chunks: [] };
  }

  async watch(have: string | undefined, waitMs: number): Promise<RelayAnswer> {
    this.#asked.watch++;
    if (this.#offer === undefined || have === this.#offer.version) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.current(have);
  }

  async chunks(hashes: readonly string[]): Promise<readonly RelayChunk[]> {
    this.#asked.chunks++;
    return this.#offer?.chunks.filter(({ hash }) => hashes.includes(hash)) ?? [];
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.method === "GET") return Response.json({ ...this.#asked, path: new URL(request.url).pathname });
    const { mode, answer } = (await request.json()) as { readonly mode: string; readonly answer?: PostedAnswer };
    this.#mode = mode;
    if (answer !== undefined) {
      this.#offer = {
        kind: "snapshot",
        version: answer.version,
        manifest: bytesOf(answer.manifest),
        roots: answer.roots.map(bytesOf),
        chunks: answer.chunks.map(({ hash, bytes }) => ({ hash, bytes: bytesOf(bytes) })),
      };
    }
    for (const wake of this.#wake.splice(0)) wake();
    return new Response("taken");
  }
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** The test's own door to the relay. */
export class Control extends WorkerEntrypoint<{ readonly RELAY: DurableObjectNamespace<SnapshotRelay> }> {
  override fetch(request: Request): Promise<Response> {
    return this.env.RELAY.get(this.env.RELAY.idFromName("europe")).fetch(request);
  }
}
