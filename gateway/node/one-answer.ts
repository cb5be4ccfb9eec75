import type { Exchange, ExchangeEnd, Step } from "../core/index.ts";

/** An exchange that asks no origin: whatever happens, it is answered the same. */
export abstract class OneAnswer implements Exchange {
  abstract start(): Step;
  abstract finished(end: ExchangeEnd): void;

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
}
