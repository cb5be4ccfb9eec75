/**
 * Runs rows: starts everybody, looks at one answer of each, then one round of everybody after the other. Rows that are held against each other are run
 * together, so that they meet the same moods of the machine. Who is not under load only waits.
 */
import { ensure } from "../tools/ensure.ts";
import { accepts } from "../tools/processes.ts";
import { PROXY_CPU } from "./machine.ts";
import type { RoundOptions } from "./measure.ts";
import { type Figures, figuresOf, measure, type Round } from "./measure.ts";
import type { OriginName, Origins } from "./origins.ts";
import type { RunningPeer, TlsFiles } from "./peers/peer.ts";
import { reasonOf } from "./reason.ts";
import type { LoadResult } from "./results.ts";
import type { Contender, Row } from "./rows/row.ts";

export interface BenchOptions {
  readonly directory: string;
  readonly origins: Origins;
  readonly tls: TlsFiles;
  readonly rounds: number;
  readonly seconds: number;
  /** Whether a first round is run that does not count. */
  readonly firstThrownAway: boolean;
  readonly firstPort: number;
  readonly say: (text: string) => void;
}

/** What rows need of a run. */
export class Bench {
  readonly directory: string;
  readonly rounds: number;
  readonly say: (text: string) => void;
  readonly #options: BenchOptions;
  #started = 0;

  constructor(options: BenchOptions) {
    this.#options = options;
    this.directory = options.directory;
    this.rounds = options.rounds;
    this.say = options.say;
  }

  /** On a port of its own. */
  async start({ peer, workload, cpus = PROXY_CPU }: Contender, origin: OriginName): Promise<RunningPeer> {
    const { directory, origins, tls, firstPort } = this.#options;
    const port = firstPort + this.#started;
    this.#started += 1;
    if (await accepts(port)) throw new Error(`port ${port} is taken by something else`);
    const behind = { originPort: origins.ports[origin], originProcess: origins.processes[origin] };
    return await peer.start({ workload, port, ...behind, directory, cpus, tls });
  }

  /** @returns by row */
  async run(rows: readonly Row[]): Promise<Record<string, LoadResult>> {
    const entries = rows.flatMap((row) =>
      row.contenders.map((contender): Entry => ({ row, contender, counted: [], dropped: [] })),
    );
    try {
      for (const entry of entries) await this.#prepare(entry);
      const first = this.#options.firstThrownAway ? 0 : 1;
      for (let round = first; round <= this.rounds; round += 1) {
        const running = entries.filter(({ refused }) => refused === undefined);
        this.say(
          `${namesOf(rows)}: round ${round} of ${this.rounds}${round === 0 ? " (thrown away)" : ""}, ${running.length} in turn`,
        );
        for (const entry of running) await this.#round(entry, round);
      }
      for (const entry of entries) await this.#lookAtFeatures(entry);
    } finally {
      for (const { proxy } of entries) await proxy?.process.stop();
    }
    return Object.fromEntries(rows.map((row) => [row.name, resultOf(entries.filter((entry) => entry.row === row))]));
  }

  async #prepare(entry: Entry): Promise<void> {
    const { row, contender } = entry;
    try {
      const reason = missingOf(row, contender);
      if (reason !== undefined) throw new Error(reason);
      entry.proxy = await this.start(contender, row.origin);
      const wrong = await row.generator.check(entry.proxy.port);
      if (wrong !== undefined) throw new Error(wrong);
      if (row.served !== undefined) await measure({ ...this.#load(entry.proxy, row), ...row.served, warmUp: false });
    } catch (error) {
      entry.refused = reasonOf(error);
    }
    if (entry.refused !== undefined) this.say(`${row.name}: ${contender.name}: refused: ${entry.refused}`);
  }

  async #round(entry: Entry, round: number): Promise<void> {
    const { row, contender, proxy } = entry;
    if (proxy === undefined) return;
    const seconds = round === 0 ? 1 : this.#options.seconds;
    try {
      const figures = await measure({ ...this.#load(proxy, row), seconds, warmUp: round > 0 });
      if (round > 0) entry.counted.push(figures);
    } catch (error) {
      const reason = reasonOf(error);
      this.say(`${row.name}: ${contender.name}: round ${round} does not count: ${reason}`);
      if (round > 0) entry.dropped.push(reason);
    }
  }

  #load(proxy: RunningPeer, { generator, loadCpus }: Row): Omit<RoundOptions, "seconds" | "warmUp"> {
    return { ...proxy, generator, directory: this.directory, ...(loadCpus !== undefined && { loadCpus }) };
  }

  /** Who did not do what the others did has no figures. */
  async #lookAtFeatures(entry: Entry): Promise<void> {
    const { proxy, row, contender, counted } = entry;
    if (proxy?.idleFeature === undefined || counted.length === 0) return;
    let idle = await proxy.idleFeature();
    for (let waited = 0; idle !== undefined && waited < FLUSH_MS; waited += POLL_MS) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      idle = await proxy.idleFeature();
    }
    if (idle === undefined) return;
    counted.length = 0;
    entry.refused = `its ${idle} is not on`;
    this.say(`${row.name}: ${contender.name}: ${entry.refused}`);
  }
}

/** Logs are written in larger pieces, the last one after a while. */
const FLUSH_MS = 3_000;
const POLL_MS = 100;

interface Entry {
  readonly row: Row;
  readonly contender: Contender;
  readonly counted: Round[];
  readonly dropped: string[];
  proxy?: RunningPeer;
  /** Why it has no figures. */
  refused?: string | undefined;
}

function missingOf({ generator, served }: Row, { peer }: Contender): string | undefined {
  for (const part of [...generator.needs, ...(served?.generator.needs ?? [])]) {
    const found = ensure(part);
    if (found.kind === "missing") return found.reason;
  }
  return peer.missing();
}

function resultOf(entries: readonly Entry[]): LoadResult {
  const figures: Record<string, Figures> = {};
  const refused: Record<string, string> = {};
  for (const { contender, counted, dropped, refused: reason } of entries) {
    if (counted.length > 0) figures[contender.name] = figuresOf(counted, dropped);
    else refused[contender.name] = reason ?? `no round counted: ${dropped[0] ?? "none was run"}`;
  }
  return { figures, refused };
}

function namesOf(rows: readonly Row[]): string {
  return rows.map((row) => row.name).join(" + ");
}
