/** A relay that holds what it is given: `PUT /` sets the snapshot. It verifies nothing, as an isolate must not rely on it anyway. */
import { DurableObject } from "cloudflare:workers";
import type { RelayAnswer, RelayChunk, RelayRpc } from "../../../gateway/edge/relay-rpc.ts";

interface Env {
  readonly RELAY: DurableObjectNamespace<SnapshotRelay>;
  readonly SITE: string;
}

/** Bytes as base64. */
interface WrittenSnapshot {
  readonly version: string;
  readonly manifest: string;
  readonly roots: readonly string[];
  readonly chunks: readonly { readonly hash: string; readonly bytes: string }[];
}

export class SnapshotRelay extends DurableObject<Env> implements RelayRpc {
  #held: WrittenSnapshot | undefined;
  #waiting: (() => void)[] = [];

  put(snapshot: WrittenSnapshot): void {
    this.#held = snapshot;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async current(have: string | undefined): Promise<RelayAnswer> {
    const held = this.#held;
    if (held === undefined) return { kind: "none" };
    if (held.version === have) return { kind: "unchanged" };
    const { version, manifest, roots, chunks } = held;
    return { kind: "snapshot", version, manifest: decoded(manifest), roots: roots.map(decoded), chunks: chunks.map(chunkOf) };
  }

  async watch(have: string | undefined, waitMs: number): Promise<RelayAnswer> {
    const until = Date.now() + waitMs;
    while ((this.#held === undefined || this.#held.version === have) && Date.now() < until) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        setTimeout(resolve, until - Date.now());
      });
    }
    return this.current(have);
  }

  async chunks(hashes: readonly string[]): Promise<readonly RelayChunk[]> {
    return (this.#held?.chunks ?? []).filter(({ hash }) => hashes.includes(hash)).map(chunkOf);
  }
}

function chunkOf({ hash, bytes }: WrittenSnapshot["chunks"][number]): RelayChunk {
  return { hash, bytes: decoded(bytes) };
}

function decoded(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

export default {
  async fetch(request, env): Promise<Response> {
    const stub = env.RELAY.get(env.RELAY.idFromName(env.SITE));
    await stub.put(await request.json<WrittenSnapshot>());
    return new Response("held\n");
  },
} satisfies ExportedHandler<Env>;
