/** The exchange of a request whose connection was for a server that is no longer there: RFC 9110 15.5.20. */
import { type Exchange, type RequestHead, respondError, type Step } from "../core/index.ts";

export class Misdirected implements Exchange {
  readonly #head: RequestHead;

  constructor(head: RequestHead) {
    this.#head = head;
  }

  start(): Step {
    return respondError("misdirected_request", this.#head.fields);
  }
  responded(): Step {
    return this.start();
  }
  failed(): Step {
    return this.start();
  }
  timer(): Step {
    return this.start();
  }
  resumed(): Step {
    return this.start();
  }
  finished(): void {}
}
