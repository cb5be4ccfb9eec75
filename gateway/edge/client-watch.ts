/** Being told when a request's client has left, where somebody needs to know at once. */
import type { SendStep } from "../core/index.ts";

/** Somebody who may be left. */
export interface Served {
  onGone(): void;
}

/**
 * What listens to the runtime. It keeps a listener long after its request is over, so this one lets go of the request in time: all that was made for it would stay,
 * and outgrow everything else.
 */
export class ClientWatch implements EventListenerObject {
  #served: Served | undefined;

  constructor(served: Served) {
    this.#served = served;
  }

  /** It is over. */
  end(): void {
    this.#served = undefined;
  }

  handleEvent(): void {
    this.#served?.onGone();
  }
}

/** Of whoever is not told. Being there always, it keeps the code that has met a watch: V8 throws it away with the last object of a shape. */
export const NO_WATCH = new ClientWatch({ onGone: () => undefined });

/** Without a watch the platform ends the attempt and nothing else is lost by its end: nothing is held, told, timed, copied, or kept going by somebody else. */
export function needsWatch({ isAwaited, deadlineMs, switchTo, mirrors, target }: SendStep): boolean {
  return isAwaited || deadlineMs !== undefined || switchTo !== undefined || mirrors.length > 0 || target.via !== undefined;
}
