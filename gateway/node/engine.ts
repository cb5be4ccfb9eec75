/**
 * The gateway as a whole: all its threads, and the snapshot that is in force in them.
 *
 *     prepare in every thread ──► persist ──► commit in every thread
 *
 * A thread that cannot compile, or a snapshot that cannot be persisted, refuses it for all: what was in force stays. After `persist` nothing can refuse; a port that
 * cannot be bound is a problem with a name, and everything else works.
 */
import { randomBytes } from "node:crypto";
import type { EndpointView } from "../core/index.ts";
import type { ClosedSections, HeldSnapshot, Listener, Snapshot, SnapshotAge, SnapshotVersion } from "../core/ir/index.ts";
import { closedSections, SECTIONS, snapshotVersion } from "../core/ir/index.ts";
import { armSystemTimer, systemClock } from "./clock.ts";
import type { Installer, InstallOutcome, NamedProblem } from "./control-snapshot.ts";
import type { DataPlaneOptions, ListenerState } from "./data-plane.ts";
import type { EndpointNews } from "./endpoint-news.ts";
import { EndpointWatch } from "./endpoint-watch.ts";
import { checkMeter } from "./gateway-meters.ts";
import { DEFAULT_THREAD_HANG_MS } from "./hang-watch.ts";
import { probeWith } from "./health-probe.ts";
import { InlineLane, type Lane, type LaneEnd, WorkerLane } from "./lane.ts";
import { Lanes } from "./lanes.ts";
import { LETTING_GO_MS } from "./listeners.ts";
import { MetricsBlock, type MetricsRegistry } from "./metrics.ts";
import { DEFAULT_OVERLOAD_LIMITS, type OverloadLimits } from "./overload.ts";
import { PemFiles } from "./pem-files.ts";
import { isBusy, SHARES_PORTS } from "./ports.ts";
import { createQuotaMemory, type QuotaMemory } from "./quota.ts";
import { createReplayMemory, type ReplayMemory } from "./replay.ts";
import { TICKET_SECRET_BYTES } from "./tls-tickets.ts";
import { nodeParts, systemAsk } from "./upstream/dns-system.ts";
import { OriginContexts } from "./upstream/tls.ts";
import { HeapClearing } from "./vitals.ts";

export interface EngineOptions {
  readonly threads: number;
  /** Most heap that one of several threads may have, MB. Undefined: V8 decides by the machine's memory. */
  readonly threadHeapMb?: number | undefined;
  /** A thread that takes no turn for so long is replaced; 0: never. */
  readonly threadHangMs?: number | undefined;
  /** Of the gateway as a whole. */
  readonly limits?: OverloadLimits;
  readonly bankAccess?: DataPlaneOptions["bankAccess"];
  readonly metrics: MetricsRegistry;
  /** Folder of the credentials that egress rules add to requests. */
  readonly secrets: string;
  /** Where the gateway is, `region/zone/subzone`; undefined: as the snapshot says. */
  readonly locality?: string | undefined;
  /** Name servers for endpoints, `IP` or `IP:port`; none: the system's. */
  readonly nameServers?: readonly string[];
  readonly log: DataPlaneOptions["log"];
  /** `status.problems` has changed without a new snapshot. */
  readonly problemsChanged?: (problems: readonly NamedProblem[]) => void;
  /** `bind:port` of what the gateway before this one still listens on: shared with it, not busy. */
  readonly shared?: ReadonlySet<string>;
}

export interface EngineStatus {
  readonly version: SnapshotVersion | undefined;
  /** Unix ms at which it was put in force. */
  readonly sinceMs: number | undefined;
  readonly age: SnapshotAge | undefined;
  readonly draining: boolean;
  readonly threadsServing: number;
  /** Threads that have died and were replaced, by what of. */
  readonly threadRestarts: Readonly<Record<LaneEnd["cause"], number>>;
  readonly problems: readonly NamedProblem[];
}

/** One listener in all threads. `descriptor` is that of one of its sockets. */
export interface OpenListener extends ListenerState {
  readonly sockets: number;
}

/** Sockets that listen on `place` (`address:port`), and one of them. */
export interface OpenPort {
  readonly place: string;
  readonly sockets: number;
  readonly descriptor: number | undefined;
}

export class Engine implements Installer {
  readonly #options: EngineOptions;
  readonly #quotaMemory: QuotaMemory = createQuotaMemory();
  readonly #replayMemory: ReplayMemory = createReplayMemory();
  readonly #ticketSecret = randomBytes(TICKET_SECRET_BYTES);
  readonly #lanes: Lanes;
  readonly #origins: OriginContexts;
  readonly #watch: EndpointWatch;
  /** Of this thread, when others serve: one that serves does it itself. */
  readonly #clearing = new HeapClearing(() => true);
  /** Somebody wants to know when endpoints' states may have changed. */
  #onEndpoints: (() => void) | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #snapshot: Snapshot | undefined;
  #version: SnapshotVersion | undefined;
  #sinceMs: number | undefined;
  #age: SnapshotAge | undefined;
  #closed: ClosedSections = {};
  #problems: readonly NamedProblem[] = [];
  #busy: readonly NamedProblem[] = [];
  /** When a port was last part of a snapshot that another one has followed. */
  readonly #left = new Map<number, number>();
  #draining = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { memory, announce } = options.metrics.block();
    // What is wrong with files is told by the threads, which read them, too.
    this.#origins = new OriginContexts(new PemFiles(options.secrets), Date.now, () => undefined);
    this.#watch = new EndpointWatch({
      ask: systemAsk(nodeParts(options.nameServers ?? [])),
      probe: probeWith(this.#origins),
      random: Math.random,
      arm: armSystemTimer,
      now: () => systemClock.now(),
      tell: (news) => this.#tellAll(news, undefined),
      probed: checkMeter(new MetricsBlock(memory, announce)),
      log: options.log,
    });
    this.#lanes = new Lanes({
      threads: options.threads,
      start: (lane, ended) => this.#startLane(lane, ended),
      revive: (lane) => this.#revive(lane),
      now: () => performance.now(),
      after: (ms, run) => setTimeout(run, ms),
      random: Math.random,
      log: options.log,
    });
  }

  get status(): EngineStatus {
    return {
      version: this.#version,
      sinceMs: this.#sinceMs,
      age: this.#age,
      draining: this.#draining,
      threadsServing: this.#lanes.living.length,
      threadRestarts: this.#lanes.restarts,
      problems: this.#problems,
    };
  }

  /** The snapshot in force. It names secrets and holds none. */
  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  install(next: HeldSnapshot, persist: () => Promise<void>): Promise<InstallOutcome> {
    return this.installSnapshot(next.snapshot, snapshotVersion(next.manifest), persist);
  }

  /** One at a time, in order. */
  installSnapshot(snapshot: Snapshot, version: SnapshotVersion, persist: () => Promise<void>): Promise<InstallOutcome> {
    const outcome = this.#turn.then(() => this.#install(snapshot, version, persist));
    this.#turn = outcome.catch(() => undefined);
    return outcome;
  }

  aged(age: SnapshotAge): void {
    this.#age = age;
    const closed = closedSections(age);
    if (SECTIONS.every((name) => closed[name] === this.#closed[name])) return;
    this.#closed = closed;
    for (const lane of this.#lanes.living) lane.close(closed);
  }

  /** Brings looked-up metrics up to date and tells what is open, over all threads. */
  async sample(): Promise<readonly OpenListener[]> {
    const byName = new Map<string, OpenListener>();
    const told = await Promise.allSettled(this.#lanes.living.map((lane) => lane.sample()));
    for (const result of told) {
      if (result.status === "rejected") continue;
      for (const state of result.value) {
        const before = byName.get(state.name);
        const connections = (before?.connections ?? 0) + state.connections;
        byName.set(state.name, { ...state, connections, sockets: (before?.sockets ?? 0) + 1 });
      }
    }
    return [...byName.values()];
  }

  /** Endpoints as all threads together see them: requests are added up, and a state is that of the first thread that has something to say. */
  async endpoints(): Promise<readonly EndpointView[]> {
    const told = await Promise.allSettled(this.#lanes.living.map((lane) => lane.endpoints()));
    return mergeViews(told.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])));
  }

  /** Calls back when endpoints may have changed: news came, or a snapshot. */
  watchEndpoints(changed: () => void): void {
    this.#onEndpoints = changed;
  }

  reopenLogs(): void {
    for (const lane of this.#lanes.living) lane.reopenLogs();
  }

  /** Not ready any more, and serving on: what leads requests here may stop doing so. */
  startDraining(): void {
    this.#draining = true;
  }

  /** The sockets that are listened on, by `bind:port`. */
  async sockets(): Promise<readonly OpenPort[]> {
    const states = await this.sample();
    return (this.#snapshot?.listeners ?? []).flatMap((listener) => {
      const state = states.find(({ name }) => name === listener.name);
      return state === undefined ? [] : [{ place: place(listener), sockets: state.sockets, descriptor: state.descriptor }];
    });
  }

  /** Ends without failing a request; what takes longer than `withinMs` is cut. Not ready from the first moment on. */
  async drain(withinMs: number): Promise<void> {
    const untilMs = performance.now() + withinMs;
    this.startDraining();
    await this.letGo(withinMs, false);
    await this.finish(Math.max(0, untilMs - performance.now()));
  }

  /**
   * The first half of ending: ports are let go when nobody comes to them any more.
   *
   * @param succeeded another gateway has them, too, and gets the new connections
   */
  async letGo(withinMs: number, succeeded: boolean): Promise<void> {
    this.#lanes.stop();
    await Promise.allSettled(this.#lanes.living.map((lane) => lane.letGo(withinMs, succeeded)));
  }

  /** The second half: requests are finished, or cut after `withinMs`. */
  async finish(withinMs: number): Promise<void> {
    await Promise.allSettled(this.#lanes.living.map((lane) => lane.drain(withinMs)));
    this.#watch.close();
    this.#origins.close();
    this.#clearing.stop();
  }

  async #install(snapshot: Snapshot, version: SnapshotVersion, persist: () => Promise<void>): Promise<InstallOutcome> {
    const lanes = await this.#prepare(snapshot, version);
    if ("kind" in lanes) return lanes;
    try {
      await persist();
    } catch (error) {
      for (const lane of lanes) lane.discard();
      throw error;
    }
    const busy = await busyPorts(snapshot.listeners.filter((listener) => !this.#holds(listener)));
    const names = namesOf(busy);
    const committed = await Promise.allSettled(lanes.map((lane) => lane.commit(names)));
    const leftMs = performance.now();
    for (const listener of this.#snapshot?.listeners ?? []) if (this.#holds(listener)) this.#left.set(listener.port, leftMs);
    this.#origins.install(snapshot.clusters);
    this.#watch.follow(snapshot);
    this.#snapshot = snapshot;
    this.#version = version;
    this.#sinceMs = Date.now();
    const problems = committed.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    this.#busy = busy;
    this.#problems = distinct([...problems, ...busy]);
    if (this.#options.threads > 1) this.#clearing.soon();
    return { kind: "in-force", problems: this.#problems };
  }

  /** @param from the thread that knows already */
  #tellAll(news: readonly EndpointNews[], from: number | undefined): void {
    if (news.length > 0) for (const lane of this.#lanes.others(from)) lane.hear(news);
    this.#onEndpoints?.();
  }

  /** A thread that dies over it says nothing about the snapshot while others live: the next one in its place gets it. @returns threads that are prepared */
  async #prepare(snapshot: Snapshot, version: SnapshotVersion): Promise<readonly Lane[] | InstallOutcome> {
    const lanes = this.#lanes.living;
    const prepared = await Promise.allSettled(lanes.map((lane) => lane.prepare(snapshot, version)));
    const survivors = lanes.filter((_, i) => prepared[i]?.status === "fulfilled");
    const refusal = prepared.flatMap((result) =>
      result.status === "fulfilled" && result.value.length > 0 ? [result.value] : [],
    )[0];
    if (refusal === undefined && survivors.length > 0) return survivors;
    for (const lane of survivors) lane.discard();
    const died = prepared.find((result) => result.status === "rejected");
    const reason = `no thread is alive${died === undefined ? "" : `: ${String(died.reason)}`}`;
    return { kind: "refused", code: "not_compiled", problems: refusal ?? [{ name: "threads", reason }] };
  }

  /** Threads see the same files, so the last one to tell knows them best. */
  #problemsChanged(problems: readonly NamedProblem[]): void {
    const next = distinct([...problems, ...this.#busy]);
    if (JSON.stringify(next) === JSON.stringify(this.#problems)) return;
    this.#problems = next;
    for (const { name, reason } of next)
      this.#options.log("warn", "a part of the snapshot is not in force as it is", { name, reason });
    if (next.length === 0) this.#options.log("info", "all of the snapshot is in force again", {});
    this.#options.problemsChanged?.(next);
  }

  /** This gateway listens there, may still do so after a snapshot that had it, or shares it with the one before. */
  #holds(listener: Listener): boolean {
    const { port } = listener;
    const stranger = namesOf(this.#busy);
    if (this.#snapshot?.listeners.some((one) => one.port === port && !stranger.has(one.name)) === true) return true;
    const leftMs = this.#left.get(port) ?? Number.NEGATIVE_INFINITY;
    return performance.now() < leftMs + LETTING_GO_MS || this.#options.shared?.has(place(listener)) === true;
  }

  #startLane(lane: number, ended: (end: LaneEnd) => void): Lane {
    const { threads, threadHeapMb, threadHangMs, limits, bankAccess, metrics, secrets, locality, log } = this.#options;
    const { memory, announce, retire } = metrics.block();
    const options: DataPlaneOptions = {
      lane,
      threads,
      quotaMemory: this.#quotaMemory,
      bankAccess,
      replayMemory: this.#replayMemory,
      metricsMemory: memory,
      limits: limits ?? DEFAULT_OVERLOAD_LIMITS,
      ticketSecret: this.#ticketSecret,
      secrets,
      announce,
      locality,
      ejected: (news) => {
        this.#watch.ejected(news);
        this.#tellAll([news], lane);
      },
      problemsChanged: (problems) => this.#problemsChanged(problems),
      log: (level, message, fields) => log(level, message, threads === 1 ? fields : { ...fields, thread: lane }),
    };
    if (threads === 1) return new InlineLane(options);
    return new WorkerLane(options, {
      heapMb: threadHeapMb,
      hangMs: threadHangMs ?? DEFAULT_THREAD_HANG_MS,
      ended: (end) => {
        retire();
        ended(end);
      },
    });
  }

  /** A new thread gets what is in force, and frees what the dead one in its place held of the quotas. */
  #revive(lane: Lane): Promise<void> {
    const revived = this.#turn.then(async () => {
      if (this.#snapshot === undefined || this.#version === undefined) return;
      await lane.prepare(this.#snapshot, this.#version);
      const problems = await lane.commit(namesOf(this.#busy));
      lane.hear(this.#watch.known());
      lane.close(this.#closed);
      if (problems.length > 0) this.#options.log("error", "a part of the snapshot is not in force in a new thread", { problems });
    });
    this.#turn = revived.catch(() => undefined);
    return revived;
  }
}

/** Which of these ports a process has that is no part of this gateway. Where ports are not shared, listening tells. */
async function busyPorts(listeners: readonly Listener[]): Promise<readonly NamedProblem[]> {
  if (!SHARES_PORTS) return [];
  const busy = await Promise.all(listeners.map(({ bind, port }) => isBusy(bind, port)));
  return listeners
    .filter((_, i) => busy[i])
    .map((listener) => ({
      name: listener.name,
      reason: `${place(listener)} is in use by another process: stop that, or choose another port`,
    }));
}

function namesOf(problems: readonly NamedProblem[]): ReadonlySet<string> {
  return new Set(problems.map(({ name }) => name));
}

function place({ bind, port }: Listener): string {
  return `${bind}:${port}`;
}

function mergeViews(threads: readonly (readonly EndpointView[])[]): readonly EndpointView[] {
  const merged = new Map<string, EndpointView>();
  for (const view of threads.flat()) {
    const key = `${view.cluster}|${view.address}|${view.port}`;
    const known = merged.get(key);
    if (known === undefined) merged.set(key, view);
    else merged.set(key, { ...(known.state === "healthy" ? view : known), active: known.active + view.active });
  }
  return [...merged.values()];
}

/** Threads that fail alike say so once. */
function distinct(problems: readonly NamedProblem[]): readonly NamedProblem[] {
  const seen = new Map<string, NamedProblem>();
  for (const problem of problems) if (!seen.has(problem.name)) seen.set(problem.name, problem);
  return [...seen.values()];
}
