/**
 * The exchange of a request that its connection is not for (RFC 9110 15.5.20): its server is no longer there, another server is for its host, or it asks
 * for an https resource in the clear (RFC 9110 7.4).
 */
import { type Exchange, httpDate, type RequestHead, respondError, type Step } from "../core/index.ts";

export class Misdirected implements Exchange {
  readonly #head: RequestHead;
  readonly #unixMs: number;

  constructor(head: RequestHead, unixMs: number) {
    this.#head = head;
    this.#unixMs = unixMs;
  }

  start(): Step {
    const step = respondError("misdirected_request", this.#head.fields);
    step.head.fields.push("date", httpDate(this.#unixMs));
    return step;
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
