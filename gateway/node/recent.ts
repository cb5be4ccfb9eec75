/** So many things that were used last; what falls out is told. */
export class Recent<T> {
  readonly #max: number;
  readonly #dropped: (item: T) => void;
  /** Last used last. */
  readonly #items = new Set<T>();

  constructor(max: number, dropped: (item: T) => void) {
    this.#max = max;
    this.#dropped = dropped;
  }

  use(item: T): void {
    this.#items.delete(item);
    this.#items.add(item);
    if (this.#items.size <= this.#max) return;
    const [oldest] = this.#items;
    if (oldest === undefined) return;
    this.#items.delete(oldest);
    this.#dropped(oldest);
  }

  /** Forgets all that `isKept` is false for; nothing is told. */
  keep(isKept: (item: T) => boolean): void {
    for (const item of this.#items) if (!isKept(item)) this.#items.delete(item);
  }
}
