/**
 * The listeners of one thread: those that the tables in force want are open, and those that they want no more go away without losing anybody.
 *
 *     open ──► serving ──► retired ──► gone
 *                 ▲            │
 *                 └────────────┘        wanted again while it still has its port
 */
import type { CompiledListener, Tables } from "../core/index.ts";
import type { NamedProblem } from "./data-plane.ts";
import type { Listener } from "./listener.ts";

/** A listener that goes away while connections keep coming accepts them for this long. */
const MAX_LAST_ACCEPT_MS = 2000;
/** After that and a look for a good moment, a listener that went away has let go of its port. */
export const LETTING_GO_MS = MAX_LAST_ACCEPT_MS + 2000;
const POLL_MS = 20;

export class Listeners {
  readonly #make: (compiled: CompiledListener, tables: Tables) => Listener;
  readonly #now: () => number;
  readonly #serving = new Map<string, Listener>();
  /** Closed for new connections, with some still being served. */
  readonly #retired = new Set<Listener>();
  #draining = false;

  /**
   * @param make a listener that is not open yet
   * @param now monotonic milliseconds
   */
  constructor(make: (compiled: CompiledListener, tables: Tables) => Listener, now: () => number) {
    this.#make = make;
    this.#now = now;
  }

  get serving(): readonly Listener[] {
    return [...this.#serving.values()];
  }

  /** Those that go away, too. */
  get all(): readonly Listener[] {
    return [...this.#serving.values(), ...this.#retired];
  }

  /**
   * The tables are in force.
   *
   * @param busy listeners by name that are left out
   * @returns those that could not be opened
   */
  async follow(tables: Tables, busy: ReadonlySet<string>): Promise<readonly NamedProblem[]> {
    const failures: NamedProblem[] = [];
    for (const [name, listener] of this.#serving) {
      const compiled = tables.listeners.get(name);
      if (compiled !== undefined && listener.takes(compiled)) {
        listener.update(compiled, tables.settings.http);
        listener.factory.follow?.();
      } else this.#retire(name, listener, tables);
    }
    for (const compiled of tables.listeners.values()) {
      const { name } = compiled.source;
      if (this.#serving.has(name) || busy.has(name) || this.#draining) continue;
      const revived = this.#revive(compiled);
      if (revived !== undefined) revived.update(compiled, tables.settings.http);
      else failures.push(...(await this.#open(compiled, tables)));
    }
    return failures;
  }

  /** Answers say `Connection: close`, and everybody accepts until nobody comes any more. Afterwards clients keep their connections until `drain`. */
  async letGo(withinMs: number, succeeded: boolean): Promise<void> {
    this.#draining = true;
    const { all } = this;
    // A successor spreads new connections over all of its threads only when it has the ports alone.
    for (const listener of all) listener.startDraining(succeeded);
    await Promise.all(all.map((listener) => listener.letGo(Math.min(MAX_LAST_ACCEPT_MS, withinMs / 2), succeeded)));
  }

  /** Requests in flight are finished; what is left after `withinMs` is cut. */
  async drain(withinMs: number): Promise<void> {
    const untilMs = this.#now() + withinMs;
    const { all } = this;
    for (const listener of all) listener.sendAway();
    const emptied = Promise.all(all.map((listener) => listener.emptied())).then(() => true);
    while (this.#now() < untilMs && !(await Promise.race([emptied, pause(POLL_MS).then(() => false)])));
    for (const listener of all) listener.destroy();
    this.#serving.clear();
  }

  async #open(compiled: CompiledListener, tables: Tables): Promise<readonly NamedProblem[]> {
    const { name } = compiled.source;
    const listener = this.#make(compiled, tables);
    listener.update(compiled, tables.settings.http);
    const failed = await listener.listen();
    if (failed !== undefined) {
      listener.destroy();
      return [{ name, reason: failed }];
    }
    this.#serving.set(name, listener);
    return [];
  }

  /** Takes a listener out of service; at once if its port is wanted for something else. */
  #retire(name: string, listener: Listener, tables: Tables): void {
    this.#serving.delete(name);
    this.#retired.add(listener);
    listener.startDraining();
    const port = portOf(name);
    const wanted = [...tables.listeners.values()].some(({ source }) => source.port === port);
    void this.#release(listener, wanted ? 0 : MAX_LAST_ACCEPT_MS);
  }

  async #release(listener: Listener, withinMs: number): Promise<void> {
    if (withinMs > 0) await listener.letGo(withinMs);
    else listener.stopAccepting();
    listener.sendAway();
    if (listener.open) return;
    await listener.emptied();
    this.#retired.delete(listener);
  }

  /** A listener that was taken out of service and still has its port. */
  #revive(compiled: CompiledListener): Listener | undefined {
    for (const listener of this.#retired) {
      if (!listener.takes(compiled) || !listener.open) continue;
      listener.stopDraining();
      this.#retired.delete(listener);
      this.#serving.set(compiled.source.name, listener);
      return listener;
    }
    return undefined;
  }
}

function portOf(name: string): number {
  return Number(name.slice(name.lastIndexOf(":") + 1));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
