/** What of a request's context outlives its response. */
export interface WaitingContext {
  waitUntil(work: Promise<unknown>): void;
}

/** A request's context that knows whether anything keeps it alive: if not, the platform ends all of the request when its client leaves. */
export class RequestContext implements WaitingContext {
  readonly #context: WaitingContext;
  #isKept = false;

  constructor(context: WaitingContext) {
    this.#context = context;
  }

  get isKept(): boolean {
    return this.#isKept;
  }

  waitUntil(work: Promise<unknown>): void {
    this.#isKept = true;
    this.#context.waitUntil(work);
  }
}
