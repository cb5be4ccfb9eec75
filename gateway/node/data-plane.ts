/**
 * The data plane of one thread: its tables, its listeners, its connections. A snapshot is put in force in two steps, so that several threads can
 * agree before any of them changes: `prepare` compiles and changes nothing, `commit` swaps by one assignment.
 */
import type { PassportPorts } from "../core/identity/index.ts";
import {
  type Clock,
  ClosableBank,
  type CompiledListener,
  type ConnectionPorts,
  compile,
  compileEgress,
  DEFAULT_MAX_COUNTERS,
  type EgressSnapshot,
  type EgressTables,
  type EndpointView,
  MapBank,
  NO_EGRESS,
  type Ports,
  QuotaFilter,
  type QuotaMeter,
  type Tables,
} from "../core/index.ts";
import type { ClosedSections, Snapshot, SnapshotVersion } from "../core/ir/index.ts";
import type { HttpThread } from "./call.ts";
import { CertificateExpiry } from "./certificate-expiry.ts";
import { systemClock } from "./clock.ts";
import { ConnectionReports } from "./connection-report.ts";
import { EgressGateway } from "./egress.ts";
import { EndpointHealth } from "./endpoint-health.ts";
import type { EjectionNews, EndpointNews } from "./endpoint-news.ts";
import { GatewayMeters } from "./gateway-meters.ts";
import { type BankAccess, Leases } from "./leases.ts";
import { Listener, type ListenerHooks } from "./listener.ts";
import { Listeners } from "./listeners.ts";
import { LogFile } from "./log-file.ts";
import { MetricsBlock, type SeriesNotice } from "./metrics.ts";
import { Overload, type OverloadLimits } from "./overload.ts";
import { NodePassportSignatures } from "./passports.ts";
import { PemFiles } from "./pem-files.ts";
import { monotonicUs, type QuotaMemory, SharedBank } from "./quota.ts";
import { type ReplayMemory, SharedPassports } from "./replay.ts";
import { RequestReporter } from "./report.ts";
import { RoutedConnections, RoutedExchanges } from "./routed.ts";
import { AdmittingFactory, type ShedPorts } from "./shed.ts";
import { createHttpThread } from "./thread.ts";
import type { TlsOptions } from "./tls.ts";
import { OriginContexts } from "./upstream/tls.ts";
import { collectGarbage, HeapClearing, vitals } from "./vitals.ts";

export interface NamedProblem {
  readonly name: string;
  readonly reason: string;
}

export interface DataPlaneOptions {
  /** Number of this thread, and of all. */
  readonly lane: number;
  readonly threads: number;
  readonly quotaMemory: QuotaMemory;
  /** Undefined: this gateway draws on no bank of global quotas. */
  readonly bankAccess: BankAccess | undefined;
  readonly replayMemory: ReplayMemory;
  readonly metricsMemory: SharedArrayBuffer;
  readonly limits: OverloadLimits;
  /** What session tickets' keys are made of; the same in all threads. */
  readonly ticketSecret: Uint8Array;
  /** Folder of the credentials that egress rules add to requests. */
  readonly secrets: string;
  /** Told of all that `commit` would answer now, when that has changed: files are not what they were. */
  readonly problemsChanged: (problems: readonly NamedProblem[]) => void;
  readonly announce: (notice: SeriesNotice) => void;
  /** Where the gateway is; undefined: as the snapshot says. */
  readonly locality: string | undefined;
  /** Told when this thread has ejected an endpoint. */
  readonly ejected: (news: EjectionNews) => void;
  /** Told of what an operator should know. */
  readonly log: (level: "info" | "warn" | "error", message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export interface ListenerState {
  readonly name: string;
  readonly protocol: string;
  readonly connections: number;
  /** Of its socket, in this process. */
  readonly descriptor: number | undefined;
}

/** All that requests are held against, swapped as one. */
interface InForce {
  readonly tables: Tables;
  readonly egress: EgressSnapshot;
}

interface Candidate {
  readonly snapshot: Snapshot;
  readonly tables: Tables;
  readonly egress: EgressTables;
}

/** How often a thread looks at its memory and at how late it is. */
const LOOK_MS = 250;

export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #clock: Clock = systemClock;
  readonly #thread: HttpThread;
  readonly #ports: Ports;
  readonly #passports: PassportPorts;
  readonly #log: LogFile;
  readonly #reporter: RequestReporter;
  readonly #connectionPorts: ConnectionPorts;
  readonly #connectionReports: ConnectionReports;
  readonly #meters: GatewayMeters;
  readonly #egress: EgressGateway;
  readonly #bank: ClosableBank;
  readonly #counters: SharedBank;
  readonly #leased: ClosableBank;
  readonly #leases: Leases;
  readonly #listeners: Listeners;
  readonly #hooks: ListenerHooks;
  readonly #overload: Overload;
  readonly #shedPorts: ShedPorts;
  readonly #watch: NodeJS.Timeout;
  readonly #clearing = new HeapClearing(() => this.#overload.requests === 0);
  readonly #tls: Omit<TlsOptions, "protocols" | "thread">;
  readonly #health: EndpointHealth;
  readonly #origins: OriginContexts;
  readonly #expiry: CertificateExpiry;
  #inForce: InForce | undefined;
  #candidate: Candidate | undefined;
  #closed: ClosedSections = {};
  /** Listeners that could not be opened. */
  #failures: readonly NamedProblem[] = [];

  constructor(options: DataPlaneOptions) {
    const { lane, log } = options;
    const clock = this.#clock;
    this.#options = options;
    this.#log = new LogFile((message) => log("error", message, {}));
    const metrics = new MetricsBlock(options.metricsMemory, options.announce);
    this.#meters = new GatewayMeters(metrics);
    this.#health = new EndpointHealth({ clock, meters: this.#meters, ejected: options.ejected, log });
    this.#overload = new Overload(options.limits, options.threads, { clock, vitals, collect: collectGarbage });
    this.#reporter = new RequestReporter(clock, this.#log, metrics, this.#overload);
    this.#connectionReports = new ConnectionReports(clock, this.#log, metrics);
    this.#connectionPorts = { clock, random: Math.random, connections: this.#connectionReports };
    this.#expiry = new CertificateExpiry({
      expires: (file, unixSeconds) => this.#meters.certificateExpires(file, unixSeconds),
      warn: (file, notAfterMs) =>
        log("warn", "a certificate ends soon: replace its files", { file, notAfter: new Date(notAfterMs).toISOString() }),
    });
    const files = new PemFiles(options.secrets);
    this.#origins = new OriginContexts(
      files,
      () => clock.unixMs(),
      () => this.#certificatesChanged(),
    );
    this.#thread = createHttpThread(
      (error) => log("error", "a request failed by a bug", { error: error instanceof Error ? error.stack : String(error) }),
      this.#origins,
    );
    this.#counters = new SharedBank(options.quotaMemory, { lane, unixMs: () => clock.unixMs() });
    this.#bank = new ClosableBank(this.#counters);
    const fallback = new MapBank({ maxCounters: DEFAULT_MAX_COUNTERS, unixMs: () => clock.unixMs() });
    const nowUs = monotonicUs();
    this.#leases = new Leases({ lane, access: options.bankAccess, local: this.#counters, nowUs, log });
    this.#leased = new ClosableBank(this.#leases.bank);
    const quotas = new QuotaFilter({ bank: this.#bank, leased: this.#leased, fallback, nowUs });
    this.#ports = { clock, random: Math.random, quotas, reporter: this.#reporter, translatesGrpcWeb: true };
    this.#passports = {
      signatures: new NodePassportSignatures(),
      memory: new SharedPassports(options.replayMemory),
      meter: this.#meters.passports(),
    };
    this.#egress = new EgressGateway({
      clock,
      quotas,
      reporter: this.#reporter,
      secrets: options.secrets,
      writeDecision: (line) => this.#log.add(line),
      current: () => this.#egressNow(),
    });
    this.#shedPorts = {
      clock,
      overload: this.#overload,
      shed: (reason, record) => {
        this.#meters.shed(reason);
        this.#reporter.shed(record);
      },
      current: () => this.#egressNow(),
    };
    this.#hooks = {
      overload: this.#overload,
      dropped: () => this.#meters.refusedConnection(),
      refused: (_info, status) => this.#meters.refused(status),
      refusedConnection: (listener, incoming, reason) =>
        this.#connectionReports.refused(listener, incoming, reason, this.#inForce?.tables.version ?? ""),
      handshakeRefused: (_listener, reason) => this.#meters.handshakeRefused(reason),
      tlsProblemsChanged: () => this.#certificatesChanged(),
    };
    this.#tls = {
      files,
      ticketSecret: options.ticketSecret,
      unixMs: () => clock.unixMs(),
    };
    this.#listeners = new Listeners(
      (compiled, tables) => this.#listener(compiled, tables),
      () => clock.now(),
    );
    this.#watch = this.#watchOverload();
  }

  /** Compiles; nothing changes. @returns what is wrong with the snapshot, or nothing */
  prepare(snapshot: Snapshot, version: SnapshotVersion): readonly NamedProblem[] {
    const compiled = compile(snapshot, version, this.#inForce?.tables, {
      threads: this.#options.threads,
      quotaMeter: (id) => this.#quotaMeter(id),
      ...(this.#options.locality === undefined ? {} : { locality: this.#options.locality }),
      names: this.#health.names,
      health: (change) => this.#health.changed(change),
    });
    if (!compiled.ok) return compiled.error.map(({ path, problem }) => ({ name: path, reason: problem }));
    const egress = compileEgress(snapshot.egress ?? NO_EGRESS, compiled.value.quotas);
    if (!egress.ok) return egress.error.map(({ path, problem }) => ({ name: `egress.${path}`, reason: problem }));
    this.#candidate = { snapshot, tables: compiled.value, egress: egress.value };
    return [];
  }

  /**
   * Puts what was prepared in force.
   *
   * @param busy listeners by name that are left out, because somebody else has their ports: he would lose connections to them
   * @returns listeners and servers that could not be opened; the rest works
   */
  async commit(busy: ReadonlySet<string>): Promise<readonly NamedProblem[]> {
    const next = this.#candidate;
    if (next === undefined) return [{ name: "snapshot", reason: "nothing was prepared" }];
    this.#candidate = undefined;
    const { tables } = next;
    this.#reporter.configure(tables.settings);
    this.#connectionReports.configure(tables.settings);
    this.#leases.follow(tables.settings.quotaBank);
    this.#inForce = { tables: this.#routedBy(tables), egress: this.#egressSnapshot(tables, next.egress) };
    this.#health.follow(tables, next.snapshot);
    this.#origins.install(next.snapshot.clusters);
    this.#failures = await this.#listeners.follow(tables, busy);
    this.#clearing.soon();
    this.#lookAtExpiry();
    return this.#problems();
  }

  /** Forgets what was prepared. */
  discard(): void {
    this.#candidate = undefined;
  }

  /** Sections have expired, or are fresh again. */
  close(closed: ClosedSections): void {
    this.#closed = closed;
    this.#bank.closed = closed.quota !== undefined;
    this.#leased.closed = this.#bank.closed;
    if (this.#inForce === undefined) return;
    const { tables, egress } = this.#inForce;
    this.#inForce = { tables: this.#routedBy(tables), egress: { ...egress, closed: closed.egress } };
  }

  /** Writes the numbers that are not counted but looked up. */
  sample(): void {
    this.#lookAtExpiry();
    const listeners = this.#listeners.all;
    for (const listener of listeners) listener.sample();
    const connections = listeners.reduce((sum, listener) => sum + listener.connections, 0);
    // Shared by all threads: told once.
    const usage = this.#options.lane === 0 ? this.#counters.usage() : undefined;
    this.#meters.sample(connections, this.#thread.counts, this.#log.dropped, usage);
    this.#meters.leases(this.#leases.usage);
    this.#meters.overload(this.#overload);
    // Threads tell one another what they find out about endpoints: one of them tells the numbers.
    if (this.#options.lane === 0) this.#meters.endpoints(this.endpoints());
  }

  /** What is known about the endpoints of the snapshot in force. */
  endpoints(): readonly EndpointView[] {
    return this.#inForce === undefined ? [] : this.#health.views(this.#inForce.tables);
  }

  /** What other threads have found out. */
  hear(news: readonly EndpointNews[]): void {
    this.#health.hear(news, this.#inForce?.tables);
  }

  reopenLogs(): void {
    this.#log.reopen();
  }

  listeners(): readonly ListenerState[] {
    return this.#listeners.serving.map(({ name, protocol, connections, descriptor }) => ({
      name,
      protocol,
      connections,
      descriptor,
    }));
  }

  /**
   * The first half of ending without failing a request: answers say `Connection: close`, and listeners accept until nobody comes any more. Then
   * clients keep what connections they have: another thread may be about to close the port that they would come to.
   *
   * @param succeeded another gateway has the ports, too, and gets the new connections
   */
  async letGo(withinMs: number, succeeded: boolean): Promise<void> {
    await this.#listeners.letGo(withinMs, succeeded);
  }

  /** The second half, when all threads have let go: requests in flight are finished. What is left after `withinMs` is cut. */
  async drain(withinMs: number): Promise<void> {
    await this.#listeners.drain(withinMs);
    for (const { pools } of this.#thread.clusters.values()) for (const pool of [...pools]) pool.closeIdle();
    this.#leases.stop();
    this.#origins.close();
    await this.#log.flush();
    this.#thread.deadlines.close();
    clearInterval(this.#watch);
    this.#clearing.stop();
  }

  #watchOverload(): NodeJS.Timeout {
    let dueMs = this.#clock.now() + LOOK_MS;
    const timer = setInterval(() => {
      const nowMs = this.#clock.now();
      const relieve = this.#overload.look(nowMs - dueMs);
      dueMs = nowMs + LOOK_MS;
      for (const listener of this.#listeners.all) listener.limit(relieve);
      if (relieve) this.#options.log("warn", "memory is short: less is taken on", { ...vitals() });
    }, LOOK_MS);
    return timer.unref();
  }

  /** Not open yet. */
  #listener(compiled: CompiledListener, tables: Tables): Listener {
    const { name, protocol } = compiled.source;
    const factory =
      protocol === "forward-proxy"
        ? this.#egress
        : new RoutedExchanges(name, compiled, tables, () => this.#inForce?.tables, this.#ports, this.#passports);
    const opaque = new RoutedConnections(name, tables, () => this.#inForce?.tables, this.#connectionPorts);
    const admitting = new AdmittingFactory(factory, this.#shedPorts);
    return new Listener(compiled, tables.settings.http, admitting, opaque, this.#thread, this.#hooks, this.#tls);
  }

  /** The tables, closed if their section is. */
  #routedBy({ closed: _closed, ...tables }: Tables): Tables {
    const { routes } = this.#closed;
    return routes === undefined ? tables : { ...tables, closed: routes };
  }

  #egressSnapshot(tables: Tables, compiled: EgressTables): EgressSnapshot {
    return {
      version: tables.version,
      tables: compiled,
      closed: this.#closed.egress,
      explainHeaders: tables.settings.explainHeaders,
    };
  }

  #egressNow(): EgressSnapshot {
    if (this.#inForce === undefined) throw new Error("a request came before the first snapshot");
    return this.#inForce.egress;
  }

  /** What is not in force of the snapshot that is, at this moment. */
  #problems(): readonly NamedProblem[] {
    const certificates = this.#listeners.serving.flatMap(({ tlsProblems }) => tlsProblems);
    return [...this.#failures, ...certificates, ...this.#origins.problems];
  }

  #certificatesChanged(): void {
    this.#lookAtExpiry();
    this.#options.problemsChanged(this.#problems());
  }

  /** All threads show the same certificates: told once. */
  #lookAtExpiry(): void {
    if (this.#options.lane !== 0) return;
    const listeners = this.#listeners.serving.flatMap((listener) => listener.shown());
    this.#expiry.look([...listeners, ...this.#origins.shown()], this.#clock.unixMs());
  }

  #quotaMeter(id: string): QuotaMeter {
    return this.#meters.quota(id);
  }
}
