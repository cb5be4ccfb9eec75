/** A relay's memory that outlives the relay, for tests without a runtime. */
import type { RelayStorage, StoredOffer, StoredSnapshot } from "../../gateway/edge/relay.ts";

export class MemoryRelayStorage implements RelayStorage {
  readonly rootList: Uint8Array[] = [];
  readonly chunks = new Map<string, Uint8Array>();
  readonly snapshots: { current: StoredSnapshot | undefined; previous: StoredSnapshot | undefined } = {
    current: undefined,
    previous: undefined,
  };
  #offer: StoredOffer | undefined;

  roots(): readonly Uint8Array[] {
    return this.rootList;
  }
  addRoot(document: Uint8Array): void {
    this.rootList.push(document);
  }
  current(): StoredSnapshot | undefined {
    return this.snapshots.current;
  }
  previous(): StoredSnapshot | undefined {
    return this.snapshots.previous;
  }
  offer(): StoredOffer | undefined {
    return this.#offer;
  }
  setOffer(offer: StoredOffer | undefined): void {
    this.#offer = offer;
  }
  hasChunk(hash: string): boolean {
    return this.chunks.has(hash);
  }
  chunk(hash: string): Uint8Array | undefined {
    return this.chunks.get(hash);
  }
  putChunk(hash: string, content: Uint8Array): void {
    this.chunks.set(hash, content);
  }
  accept(next: StoredSnapshot): void {
    const { current } = this.snapshots;
    if (current?.accepted.payloadHash !== next.accepted.payloadHash) this.snapshots.previous = current;
    this.snapshots.current = next;
    this.#offer = undefined;
  }
  markEnforced(): void {
    const { current } = this.snapshots;
    if (current !== undefined) this.snapshots.current = { ...current, enforced: true };
  }
  keepChunks(hashes: ReadonlySet<string>): void {
    for (const hash of this.chunks.keys()) if (!hashes.has(hash)) this.chunks.delete(hash);
  }
}
