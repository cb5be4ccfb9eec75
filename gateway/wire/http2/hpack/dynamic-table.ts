/** Dynamic table (RFC 7541 2.3.2, 4): a ring of entries, the newest with index 1, that never counts more than its bound. */

interface Sized {
  readonly size: number;
}

/** Entries that a table of the default size can have at most; most have far fewer, and idle connections none. */
const FIRST_SLOTS = 16;

export class DynamicTable<Entry extends Sized> {
  #slots: (Entry | undefined)[] = [];
  /** Entries ever added; the newest lies at this, less one, in the ring. */
  #added = 0;
  #count = 0;
  #bytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  /** Entries ever added: the serial number of the newest one, whose index is 1. */
  get added(): number {
    return this.#added;
  }

  /** `index` from 1 (the newest); undefined when there is none. */
  at(index: number): Entry | undefined {
    return index > this.#count ? undefined : this.#slots[(this.#added - index) & (this.#slots.length - 1)];
  }

  /** Adds an entry for which `makeRoom` has made room. */
  add(entry: Entry): void {
    if (this.#count === this.#slots.length) this.#grow();
    this.#slots[this.#added & (this.#slots.length - 1)] = entry;
    this.#added++;
    this.#count++;
    this.#bytes += entry.size;
  }

  /** RFC 7541 4.4: evicts what an entry of this size pushes out. @returns whether it fits at all */
  makeRoom(size: number, evicted?: (entry: Entry, serial: number) => void): boolean {
    this.#shrinkTo(this.#maxBytes - size, evicted);
    return size <= this.#maxBytes;
  }

  /** RFC 7541 4.3. */
  resize(maxBytes: number, evicted?: (entry: Entry, serial: number) => void): void {
    this.#maxBytes = maxBytes;
    this.#shrinkTo(maxBytes, evicted);
  }

  #shrinkTo(bytes: number, evicted: ((entry: Entry, serial: number) => void) | undefined): void {
    const mask = this.#slots.length - 1;
    while (this.#bytes > bytes && this.#count > 0) {
      const serial = this.#added - this.#count + 1;
      const slot = (serial - 1) & mask;
      const entry = this.#slots[slot] as Entry;
      this.#slots[slot] = undefined;
      this.#count--;
      this.#bytes -= entry.size;
      evicted?.(entry, serial);
    }
  }

  #grow(): void {
    const grown: (Entry | undefined)[] = new Array<Entry | undefined>(Math.max(FIRST_SLOTS, this.#slots.length * 2)).fill(
      undefined,
    );
    for (let serial = this.#added - this.#count; serial < this.#added; serial++) {
      grown[serial & (grown.length - 1)] = this.#slots[serial & (this.#slots.length - 1)];
    }
    this.#slots = grown;
  }
}
