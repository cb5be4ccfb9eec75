/** Child processes of `tidegate up`: started, kept running, their logs told apart, and all stopped together. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";

export interface ChildSpec {
  readonly name: string;
  readonly command: readonly [program: string, ...args: string[]];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** File that takes standard output (access logs); standard error goes to `onLine`. */
  readonly outputFile: string;
  /** Between SIGTERM and SIGKILL; undefined: as long as a gateway drains. */
  readonly stopTimeoutMs?: number;
}

export interface SupervisorEvents {
  /** One line that a child wrote to standard error. */
  line(name: string, line: string): void;
  /** A child ended by itself and will be started again after `restartMs`; undefined: it is not, because not everything has come up yet. */
  died(name: string, how: string, restartMs: number | undefined): void;
}

/** How long a child gets between SIGTERM and SIGKILL: longer than a gateway drains by default in a sample. */
const STOP_TIMEOUT_MS = 15_000;
const RESTART_MS = 500;
const RESTART_MAX_MS = 10_000;
/** A child that ran this long starts over with the short wait. */
const STEADY_MS = 10_000;

interface Child {
  readonly spec: ChildSpec;
  readonly output: WriteStream;
  process: ChildProcess | undefined;
  startedMs: number;
  failures: number;
  timer: NodeJS.Timeout | undefined;
}

export class Supervisor {
  readonly #events: SupervisorEvents;
  readonly #children: Child[] = [];
  #steady = false;
  #stopping = false;

  constructor(events: SupervisorEvents) {
    this.#events = events;
  }

  start(spec: ChildSpec): void {
    const output = createWriteStream(spec.outputFile, { flags: "a", mode: 0o600 });
    const child: Child = { spec, output, process: undefined, startedMs: 0, failures: 0, timer: undefined };
    this.#children.push(child);
    this.#run(child);
  }

  /** From now on a child that ends is started again. Before that, it could only fail again in the same way. */
  steady(): void {
    this.#steady = true;
  }

  /** SIGTERM to all but the last-named first, in reverse order of start; SIGKILL for those that do not end in time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const child of [...this.#children].reverse()) {
      clearTimeout(child.timer);
      const { process } = child;
      if (process === undefined) continue;
      const exited = once(process, "exit");
      process.kill("SIGTERM");
      const force = setTimeout(() => process.kill("SIGKILL"), child.spec.stopTimeoutMs ?? STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(force);
    }
    for (const child of this.#children) child.output.end();
  }

  /** Ends all at once, unfinished requests included; `stop` then returns. */
  kill(): void {
    for (const { process } of this.#children) process?.kill("SIGKILL");
  }

  #run(child: Child): void {
    const [program, ...args] = child.spec.command;
    const started = spawn(program, args, {
      cwd: child.spec.cwd,
      env: { ...child.spec.env } as NodeJS.ProcessEnv,
      stdio: ["ignore", "pipe", "pipe"],
      // Ctrl-C on the terminal reaches this process alone; it then stops its children in order.
      detached: true,
    });
    child.process = started;
    child.startedMs = Date.now();
    started.stdout?.pipe(child.output, { end: false });
    if (started.stderr) createInterface({ input: started.stderr }).on("line", (line) => this.#events.line(child.spec.name, line));
    started.once("error", (error) => this.#ended(child, started, error.message));
    started.once("exit", (code, signal) => this.#ended(child, started, signal ?? `exit code ${code}`));
  }

  #ended(child: Child, ended: ChildProcess, how: string): void {
    if (child.process !== ended) return;
    child.process = undefined;
    if (this.#stopping) return;
    if (!this.#steady) {
      this.#events.died(child.spec.name, how, undefined);
      return;
    }
    child.failures = Date.now() - child.startedMs > STEADY_MS ? 0 : child.failures + 1;
    const restartMs = Math.min(RESTART_MAX_MS, RESTART_MS * 2 ** child.failures);
    this.#events.died(child.spec.name, how, restartMs);
    child.timer = setTimeout(() => this.#run(child), restartMs);
  }
}
