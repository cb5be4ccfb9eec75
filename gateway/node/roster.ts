/**
 * Who is there now, where many come and go. A Set makes its table anew each time that as many have gone as it has room for, and the old table goes on
 * holding the new one and whoever was there then: once the collector takes the old one for long-lived, each of those is, too, and so on from table to
 * table, until all of the heap is gone through.
 */

/** `seat` belongs to the roster. */
export interface Seated {
  /** Index in the roster, or -1. One is in one roster at most. */
  seat: number;
}

export class Roster<T extends Seated> implements Iterable<T> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    if (item.seat !== -1) return;
    item.seat = this.#items.length;
    this.#items.push(item);
  }

  /** @returns whether it was there */
  delete(item: T): boolean {
    const { seat } = item;
    if (seat === -1) return false;
    item.seat = -1;
    const last = this.#items.pop();
    if (last === undefined || last === item) return true;
    this.#items[seat] = last;
    last.seat = seat;
    return true;
  }

  /** Those that are there now, whoever goes meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return this.#items.slice().values();
  }
}
