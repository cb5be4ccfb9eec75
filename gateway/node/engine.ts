/**
 * The gateway as a whole: all its threads, and the snapshot that is in force in them.
 *
 *     prepare in every thread ──► persist ──► commit in every thread
 *
 * A thread that cannot compile, or a snapshot that cannot be persisted, refuses it for all: what was in force stays. After `persist` nothing can refuse; a port that
 * cannot be bound is a problem with a name, and everything else works.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import type { EndpointView } from "../core/index.ts";
import type { ClosedSections, HeldSnapshot, Listener, Snapshot, SnapshotAge, SnapshotVersion } from "../core/ir/index.ts";
import { closedSections, SECTIONS, snapshotVersion } from "../core/ir/index.ts";
import { armSystemTimer, systemClock } from "./clock.ts";
import type { Installer, InstallOutcome, NamedProblem } from "./control-snapshot.ts";
import type { DataPlaneOptions } from "./data-plane.ts";
import type { EndpointNews } from "./endpoint-news.ts";
import { EndpointWatch } from "./endpoint-watch.ts";
import { checkMeter } from "./gateway-meters.ts";
import { probeWith } from "./health-probe.ts";
import { InlineLane, type Lane, type ListenerState, WorkerLane } from "./lane.ts";
import { MetricsBlock, type MetricsRegistry } from "./metrics.ts";
import { PemFiles } from "./pem-files.ts";
import { createQuotaMemory, type QuotaMemory } from "./quota.ts";
import { createReplayMemory, type ReplayMemory } from "./replay.ts";
import { TICKET_SECRET_BYTES } from "./tls-tickets.ts";
import { nodeParts, systemAsk } from "./upstream/dns-system.ts";
import { OriginContexts } from "./upstream/tls.ts";

export interface EngineOptions {
  readonly threads: number;
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
}

export interface EngineStatus {
  readonly version: SnapshotVersion | undefined;
  /** Unix ms at which it was put in force. */
  readonly sinceMs: number | undefined;
  readonly age: SnapshotAge | undefined;
  readonly draining: boolean;
  readonly problems: readonly NamedProblem[];
}

export class Engine implements Installer {
  readonly #options: EngineOptions;
  readonly #quotaMemory: QuotaMemory = createQuotaMemory();
  readonly #replayMemory: ReplayMemory = createReplayMemory();
  readonly #ticketSecret = randomBytes(TICKET_SECRET_BYTES);
  readonly #lanes: (Lane | undefined)[] = [];
  readonly #origins: OriginContexts;
  readonly #watch: EndpointWatch;
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
    for (let lane = 0; lane < options.threads; lane++) this.#lanes.push(this.#newLane(lane));
  }

  get status(): EngineStatus {
    return {
      version: this.#version,
      sinceMs: this.#sinceMs,
      age: this.#age,
      draining: this.#draining,
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
    for (const lane of this.#living()) lane.close(closed);
  }

  /** Brings looked-up metrics up to date and tells what is open. */
  async sample(): Promise<readonly ListenerState[]> {
    const byName = new Map<string, ListenerState>();
    const told = await Promise.allSettled(this.#living().map((lane) => lane.sample()));
    for (const result of told) {
      if (result.status === "rejected") continue;
      for (const state of result.value) {
        const connections = (byName.get(state.name)?.connections ?? 0) + state.connections;
        byName.set(state.name, { ...state, connections });
      }
    }
    return [...byName.values()];
  }

  /** Endpoints as all threads together see them: requests are added up, and a state is that of the first thread that has something to say. */
  async endpoints(): Promise<readonly EndpointView[]> {
    const told = await Promise.allSettled(this.#living().map((lane) => lane.endpoints()));
    return mergeViews(told.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])));
  }

  /** Calls back when endpoints may have changed: news came, or a snapshot. */
  watchEndpoints(changed: () => void): void {
    this.#onEndpoints = changed;
  }

  reopenLogs(): void {
    for (const lane of this.#living()) lane.reopenLogs();
  }

  /** Not ready any more, and serving on: what leads requests here may stop doing so. */
  startDraining(): void {
    this.#draining = true;
  }

  /** Ends without failing a request; what takes longer than `withinMs` is cut. Not ready from the first moment on. */
  async drain(withinMs: number): Promise<void> {
    this.#draining = true;
    const untilMs = performance.now() + withinMs;
    await Promise.allSettled(this.#living().map((lane) => lane.letGo(withinMs)));
    const restMs = Math.max(0, untilMs - performance.now());
    await Promise.allSettled(this.#living().map((lane) => lane.drain(restMs)));
    this.#watch.close();
    this.#origins.close();
  }

  async #install(snapshot: Snapshot, version: SnapshotVersion, persist: () => Promise<void>): Promise<InstallOutcome> {
    const lanes = this.#living();
    const prepared = await Promise.all(lanes.map((lane) => lane.prepare(snapshot, version)));
    const refusal = prepared.find((problems) => problems.length > 0);
    if (refusal !== undefined) {
      for (const lane of lanes) lane.discard();
      return { kind: "refused", code: "not_compiled", problems: refusal };
    }
    try {
      await persist();
    } catch (error) {
      for (const lane of lanes) lane.discard();
      throw error;
    }
    const busy = this.#options.threads > 1 ? await busyPorts(snapshot.listeners, this.#snapshot?.listeners ?? []) : [];
    const committed = await Promise.all(lanes.map((lane) => lane.commit()));
    this.#origins.install(snapshot.clusters);
    this.#watch.follow(snapshot);
    this.#snapshot = snapshot;
    this.#version = version;
    this.#sinceMs = Date.now();
    this.#busy = busy;
    this.#problems = distinct([...committed.flat(), ...busy]);
    return { kind: "in-force", problems: this.#problems };
  }

  /** @param from the thread that knows already */
  #tellAll(news: readonly EndpointNews[], from: number | undefined): void {
    if (news.length > 0) for (const [i, lane] of this.#lanes.entries()) if (i !== from) lane?.hear(news);
    this.#onEndpoints?.();
  }

  #living(): readonly Lane[] {
    return this.#lanes.filter((lane) => lane !== undefined);
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

  #newLane(lane: number): Lane {
    const { threads, bankAccess, metrics, secrets, locality, log } = this.#options;
    const { memory, announce } = metrics.block();
    const options: DataPlaneOptions = {
      lane,
      threads,
      quotaMemory: this.#quotaMemory,
      bankAccess,
      replayMemory: this.#replayMemory,
      metricsMemory: memory,
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
    return threads === 1 ? new InlineLane(options) : new WorkerLane(options, (reason) => this.#laneEnded(lane, reason));
  }

  /** A thread died. Another takes over with the snapshot in force, and frees what the dead one held of the quotas. */
  #laneEnded(lane: number, reason: string): void {
    this.#lanes[lane] = undefined;
    if (this.#draining) return;
    this.#options.log("error", "a worker thread has died and is replaced", { thread: lane, reason });
    const replacement = this.#newLane(lane);
    this.#turn = this.#turn
      .then(async () => {
        if (this.#snapshot !== undefined && this.#version !== undefined) {
          await replacement.prepare(this.#snapshot, this.#version);
          await replacement.commit();
          replacement.hear(this.#watch.known());
          replacement.close(this.#closed);
        }
        this.#lanes[lane] = replacement;
      })
      .catch((error: unknown) => {
        this.#options.log("error", "a worker thread could not be replaced", { thread: lane, reason: String(error) });
      });
  }
}

/**
 * Threads share a port by asking the kernel to let them, and then it lets any process of this user: whether somebody else has the port is found out
 * by binding it once without asking.
 */
async function busyPorts(next: readonly Listener[], before: readonly Listener[]): Promise<readonly NamedProblem[]> {
  const held = new Set(before.map(({ port }) => port));
  const tried = await Promise.all(next.filter(({ port }) => !held.has(port)).map(probe));
  return tried.filter((problem) => problem !== undefined);
}

function probe({ name, bind, port }: Listener): Promise<NamedProblem | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: Error & { code?: string }) => {
      const reason = `${bind}:${port} is in use by another process, which shares its connections: stop that, or choose another port`;
      resolve(error.code === "EADDRINUSE" ? { name, reason } : undefined);
    });
    server.listen({ host: bind, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
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
