/**
 * Names of endpoints → addresses, once per name and process, and again when the answer's time to live is over.
 *
 *     asking ──addresses──► waiting (TTL) ──► asking
 *        └────failure─────► waiting (longer each time; the last addresses stay) ──► asking
 *
 * Names with a dot are asked of the name servers, because they tell how long an answer holds; names without one, and those that the hosts file
 * knows, are the system's to resolve, search list and all.
 */
import type { NameAnswer, Random } from "../../core/index.ts";
import type { ArmTimer } from "../deadlines.ts";

/** An answer is never asked for again sooner, whatever its time to live says. */
export const MIN_TTL_MS = 5_000;
/** Nor later. */
export const MAX_TTL_MS = 300_000;
/** What the system resolves comes without a time to live. */
export const SYSTEM_TTL_MS = 30_000;
/** After a failure; doubled with each one that follows. */
export const FAILURE_WAIT_MS = 1_000;
export const MAX_FAILURE_WAIT_MS = 60_000;
/** Waits are longer by up to this share, so that names that were learned together are not asked for together. */
const JITTER = 0.1;
/** Names asked for at the same time; the rest wait their turn. */
export const MAX_ASKING = 32;
/** More addresses of one name than this are left out. */
export const MAX_ADDRESSES = 256;

export interface Answer {
  readonly addresses: readonly string[];
  readonly ttlMs: number;
}

/** Resolves one name; throws an Error that says why not. */
export type Ask = (name: string) => Promise<Answer>;

export interface ResolverOptions {
  readonly ask: Ask;
  readonly random: Random;
  readonly arm: ArmTimer;
  /** A name's answer is another than before. */
  readonly changed: (name: string, answer: NameAnswer) => void;
}

interface Tracked {
  answer: NameAnswer | undefined;
  failures: number;
  disarm: (() => void) | undefined;
}

export class NameResolver {
  readonly #options: ResolverOptions;
  readonly #names = new Map<string, Tracked>();
  readonly #line: string[] = [];
  #asking = 0;

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** These names and no others from now on. */
  follow(names: ReadonlySet<string>): void {
    for (const [name, tracked] of this.#names) {
      if (names.has(name)) continue;
      tracked.disarm?.();
      this.#names.delete(name);
    }
    for (const name of names) {
      if (this.#names.has(name)) continue;
      this.#names.set(name, { answer: undefined, failures: 0, disarm: undefined });
      this.#enqueue(name);
    }
  }

  get(name: string): NameAnswer | undefined {
    return this.#names.get(name)?.answer;
  }

  answers(): readonly (readonly [name: string, answer: NameAnswer])[] {
    return [...this.#names].flatMap(([name, { answer }]) => (answer === undefined ? [] : [[name, answer] as const]));
  }

  close(): void {
    this.follow(new Set());
    this.#line.length = 0;
  }

  #enqueue(name: string): void {
    this.#line.push(name);
    this.#askNext();
  }

  #askNext(): void {
    while (this.#asking < MAX_ASKING) {
      const name = this.#line.shift();
      if (name === undefined) return;
      const tracked = this.#names.get(name);
      if (tracked === undefined) continue;
      this.#asking++;
      void this.#resolve(name, tracked).finally(() => {
        this.#asking--;
        this.#askNext();
      });
    }
  }

  async #resolve(name: string, tracked: Tracked): Promise<void> {
    const { ask, random, arm } = this.#options;
    const waitMs = await ask(name).then(
      (answer) => this.#learned(name, tracked, answer),
      (error: unknown) => this.#failed(name, tracked, error instanceof Error ? error.message : String(error)),
    );
    // Nobody follows it any more, or somebody does again.
    if (this.#names.get(name) !== tracked) return;
    tracked.disarm = arm(waitMs * (1 + JITTER * random()), () => this.#enqueue(name));
  }

  #learned(name: string, tracked: Tracked, { addresses, ttlMs }: Answer): number {
    if (addresses.length === 0) return this.#failed(name, tracked, "no addresses");
    tracked.failures = 0;
    this.#tell(name, tracked, { kind: "addresses", addresses: [...new Set(addresses)].slice(0, MAX_ADDRESSES) });
    return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs));
  }

  #failed(name: string, tracked: Tracked, reason: string): number {
    const waitMs = Math.min(MAX_FAILURE_WAIT_MS, FAILURE_WAIT_MS * 2 ** tracked.failures);
    tracked.failures++;
    if (tracked.answer?.kind !== "addresses") this.#tell(name, tracked, { kind: "failed", reason });
    return waitMs;
  }

  #tell(name: string, tracked: Tracked, answer: NameAnswer): void {
    if (this.#names.get(name) !== tracked || isSame(tracked.answer, answer)) return;
    tracked.answer = answer;
    this.#options.changed(name, answer);
  }
}

function isSame(before: NameAnswer | undefined, after: NameAnswer): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}
