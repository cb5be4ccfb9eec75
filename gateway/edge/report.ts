/**
 * What is told about finished requests: a line of the access log, and counts for `/.tidegate/stats`. Both at once and without a promise; counts are this
 * isolate's own and start over with it.
 */
import {
  accessLogLine,
  asciiJson,
  type Clock,
  type PeerInfo,
  type QuotaMeter,
  type Reporter,
  type RequestRecord,
} from "../core/index.ts";
import type { Settings } from "../core/ir/index.ts";

/** Where a client is, as the platform sees it; null where it does not say. */
export interface ClientPlace {
  readonly country: string | null;
  readonly colo: string | null;
  readonly asn: number | null;
}

/** A peer whose place is told in the log. */
export interface PlacedPeer extends PeerInfo {
  readonly place?: ClientPlace;
}

export interface EdgeStats {
  readonly requests: { readonly [status: string]: number };
  readonly flags: { readonly [flags: string]: number };
  readonly quotas: { readonly [id: string]: { readonly [outcome: string]: number } };
}

/** Told at most: ids and flags come from the configuration, which may be changed often. */
const MAX_SERIES = 4_096;

export class EdgeReporter implements Reporter {
  readonly #clock: Clock;
  readonly #write: (line: string) => void;
  readonly #requests = new Counts<number>();
  readonly #flags = new Counts<string>();
  readonly #quotas = new Map<string, Counts<string>>();
  #isLogging = true;

  constructor(clock: Clock, write: (line: string) => void) {
    this.#clock = clock;
    this.#write = write;
  }

  /** Takes over the settings of the snapshot that the request at hand is held against. */
  configure({ accessLog }: Settings): void {
    this.#isLogging = accessLog.enabled;
  }

  counted(status: number, flags: string): boolean {
    this.#requests.add(status);
    if (flags !== "-") this.#flags.add(flags);
    return !this.#isLogging;
  }

  /** A line of the log. */
  request(record: RequestRecord): void {
    const startedUnixMs = this.#clock.unixMs() - (this.#clock.now() - record.startedMs);
    // The line ends with a brace and a line feed; the console adds a line feed of its own.
    const line = accessLogLine(record, startedUnixMs).slice(0, -2);
    const { place } = record.peer as PlacedPeer;
    this.#write(place === undefined ? `${line}}` : `${line},"place":${asciiJson(place)}}`);
  }

  /** Where the outcomes of a quota are counted. */
  quotaMeter(id: string): QuotaMeter {
    let counts = this.#quotas.get(id);
    if (counts === undefined) {
      if (this.#quotas.size >= MAX_SERIES) this.#quotas.clear();
      counts = new Counts<string>();
      this.#quotas.set(id, counts);
    }
    const known = counts;
    return { count: (outcome) => known.add(outcome) };
  }

  stats(): EdgeStats {
    const quotas = Object.fromEntries([...this.#quotas].map(([id, counts]) => [id, counts.told()]));
    return { requests: this.#requests.told(), flags: this.#flags.told(), quotas };
  }
}

class Counts<Name extends string | number> {
  readonly #counts = new Map<Name, number>();

  add(name: Name): void {
    const count = this.#counts.get(name);
    if (count !== undefined) this.#counts.set(name, count + 1);
    else if (this.#counts.size < MAX_SERIES) this.#counts.set(name, 1);
  }

  told(): { readonly [name: string]: number } {
    return Object.fromEntries(this.#counts);
  }
}
