/**
 * The exchange of a request that its connection is not for (RFC 9110 15.5.20): its server is no longer there, another server is for its host, or it asks
 * for an https resource in the clear (RFC 9110 7.4).
 */
import { httpDate, type RequestHead, respondError, type Step } from "../core/index.ts";
import { OneAnswer } from "./one-answer.ts";

export class Misdirected extends OneAnswer {
  readonly #head: RequestHead;
  readonly #unixMs: number;

  constructor(head: RequestHead, unixMs: number) {
    super();
    this.#head = head;
    this.#unixMs = unixMs;
  }

  start(): Step {
    const step = respondError("misdirected_request", this.#head.fields);
    step.head.fields.push("date", httpDate(this.#unixMs));
    return step;
  }

  finished(): void {}
}
