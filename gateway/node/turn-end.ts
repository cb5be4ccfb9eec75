/**
 * Work that is put off to the end of the event loop's turn, when every socket that had something has been read: what many requests have to say to one
 * HTTP/2 connection leaves in one write then.
 */
export interface TurnWork {
  endOfTurn(): void;
}

export class TurnEnd {
  #work: TurnWork[] = [];
  #spare: TurnWork[] = [];
  readonly #run = (): void => this.#endOfTurn();

  /** Each object at most once a turn: that is the caller's to see to. */
  add(work: TurnWork): void {
    if (this.#work.push(work) === 1) setImmediate(this.#run);
  }

  #endOfTurn(): void {
    const work = this.#work;
    this.#work = this.#spare;
    for (const one of work) one.endOfTurn();
    work.length = 0;
    this.#spare = work;
  }
}
