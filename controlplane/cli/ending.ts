/** How a command that runs until it is told to stop ends: by a signal, by a failure of what it runs, or because it waited in vain. */
import { CliError } from "./output.ts";

const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 50;

export interface Ending {
  readonly promise: Promise<void>;
  readonly over: () => boolean;
  /** Why it ended by itself. */
  readonly failure: () => string | undefined;
  fail(why: string): void;
  /** Calls back when a signal comes again. */
  whenUrged(hurry: () => void): void;
}

/** A signal so soon after the first is the same one told twice: a terminal tells a whole group, and npm passes it on. */
const SAME_SIGNAL_MS = 1000;

/** Signals are heard until the process ends: the default action of a second one would leave the children behind. */
export function untilSignal(): Ending {
  let over = false;
  let failure: string | undefined;
  let end = (): void => undefined;
  let hurry = (): void => undefined;
  const promise = new Promise<void>((done) => {
    end = () => {
      over = true;
      done();
    };
  });
  let firstMs: number | undefined;
  const signalled = (): void => {
    firstMs ??= performance.now();
    if (performance.now() - firstMs > SAME_SIGNAL_MS) hurry();
    else end();
  };
  process.on("SIGINT", signalled);
  process.on("SIGTERM", signalled);
  const fail = (why: string): void => {
    failure ??= why;
    end();
  };
  const whenUrged = (run: () => void): void => {
    hurry = run;
  };
  return { promise, over: () => over, failure: () => failure, fail, whenUrged };
}

/** Asks until there is an answer; failures on the way are only told when the time is over. */
export async function until<T>(what: string, ending: Ending, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  let why = "";
  while (performance.now() < deadline && !ending.over()) {
    try {
      const answer = await ask();
      if (answer !== undefined && !(Array.isArray(answer) && answer.length === 0)) return answer;
    } catch (error) {
      why = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
  if (ending.over()) throw new CliError(ending.failure() ?? "stopped");
  throw new CliError(`${what} did not become ready within ${READY_TIMEOUT_MS / 1000} s${why}; see the lines above`);
}
