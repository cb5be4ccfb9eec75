/**
 * A lane is one thread's data plane as the main thread sees it: in this very thread, or in a worker behind messages.
 */
import { Worker } from "node:worker_threads";
import type { EndpointView } from "../core/index.ts";
import type { ClosedSections, Snapshot, SnapshotVersion } from "../core/ir/index.ts";
import { DataPlane, type DataPlaneOptions, type ListenerState, type NamedProblem } from "./data-plane.ts";
import type { EjectionNews, EndpointNews } from "./endpoint-news.ts";
import { entryUrl } from "./entries.ts";
import { type Beats, createBeats, everySystem, HangWatch } from "./hang-watch.ts";
import type { SeriesNotice } from "./metrics.ts";

export interface Lane {
  prepare(snapshot: Snapshot, version: SnapshotVersion): Promise<readonly NamedProblem[]>;
  /** @param busy listeners by name that are not to be opened: somebody else has their ports */
  commit(busy: ReadonlySet<string>): Promise<readonly NamedProblem[]>;
  discard(): void;
  close(closed: ClosedSections): void;
  sample(): Promise<readonly ListenerState[]>;
  endpoints(): Promise<readonly EndpointView[]>;
  hear(news: readonly EndpointNews[]): void;
  reopenLogs(): void;
  /** Before `drain`, in all lanes: see DataPlane. */
  letGo(withinMs: number, succeeded: boolean): Promise<void>;
  drain(withinMs: number): Promise<void>;
}

/** Why a thread is over. */
export interface LaneEnd {
  /** `memory`: its heap was full. `hang`: it took no more turns, and was ended. */
  readonly cause: "error" | "memory" | "hang" | "exit";
  readonly reason: string;
}

/** The data plane in the main thread: for one thread there is no worker. */
export class InlineLane implements Lane {
  readonly #plane: DataPlane;

  constructor(options: DataPlaneOptions) {
    this.#plane = new DataPlane(options);
  }

  async prepare(snapshot: Snapshot, version: SnapshotVersion): Promise<readonly NamedProblem[]> {
    return this.#plane.prepare(snapshot, version);
  }
  commit(busy: ReadonlySet<string>): Promise<readonly NamedProblem[]> {
    return this.#plane.commit(busy);
  }
  discard(): void {
    this.#plane.discard();
  }
  close(closed: ClosedSections): void {
    this.#plane.close(closed);
  }
  async sample(): Promise<readonly ListenerState[]> {
    this.#plane.sample();
    return this.#plane.listeners();
  }
  async endpoints(): Promise<readonly EndpointView[]> {
    return this.#plane.endpoints();
  }
  hear(news: readonly EndpointNews[]): void {
    this.#plane.hear(news);
  }
  reopenLogs(): void {
    this.#plane.reopenLogs();
  }
  letGo(withinMs: number, succeeded: boolean): Promise<void> {
    return this.#plane.letGo(withinMs, succeeded);
  }
  drain(withinMs: number): Promise<void> {
    return this.#plane.drain(withinMs);
  }
}

/** What a worker is born with. Its functions stay behind: notices and log lines come as messages. */
export interface WorkerInput extends Omit<DataPlaneOptions, "announce" | "ejected" | "log" | "problemsChanged"> {
  readonly beats: Beats;
}

export interface WorkerLaneOptions {
  /** Most that its heap may take. */
  readonly heapMb: number | undefined;
  /** Without a turn for so long, it is ended; 0: never. */
  readonly hangMs: number;
  /** The thread is over, whether it was told to or not. */
  readonly ended: (end: LaneEnd) => void;
}

export type ToWorker =
  | { readonly kind: "prepare"; readonly id: number; readonly snapshot: Snapshot; readonly version: SnapshotVersion }
  | { readonly kind: "commit"; readonly id: number; readonly busy: ReadonlySet<string> }
  | { readonly kind: "discard" }
  | { readonly kind: "close"; readonly closed: ClosedSections }
  | { readonly kind: "sample" | "endpoints"; readonly id: number }
  | { readonly kind: "hear"; readonly news: readonly EndpointNews[] }
  | { readonly kind: "reopenLogs" }
  | { readonly kind: "letGo"; readonly id: number; readonly withinMs: number; readonly succeeded: boolean }
  | { readonly kind: "drain"; readonly id: number; readonly withinMs: number };

export type FromWorker =
  | {
      readonly kind: "answer";
      readonly id: number;
      readonly value: readonly NamedProblem[] | readonly ListenerState[] | readonly EndpointView[];
    }
  | { readonly kind: "ejected"; readonly news: EjectionNews }
  | { readonly kind: "series"; readonly notice: SeriesNotice }
  | { readonly kind: "problems"; readonly problems: readonly NamedProblem[] }
  | {
      readonly kind: "log";
      readonly level: "info" | "warn" | "error";
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };

/** The data plane in a worker. */
export class WorkerLane implements Lane {
  readonly #worker: Worker;
  readonly #asked = new Map<number, (value: never) => void>();
  readonly #failed = new Map<number, (error: Error) => void>();
  #nextId = 1;
  #gone = false;

  constructor(
    { announce, ejected, log, problemsChanged, ...input }: DataPlaneOptions,
    { heapMb, hangMs, ended }: WorkerLaneOptions,
  ) {
    const beats = createBeats();
    const workerData: WorkerInput = { ...input, beats };
    const resourceLimits = heapMb === undefined ? {} : { maxOldGenerationSizeMb: heapMb };
    this.#worker = new Worker(entryUrl("worker-main"), { workerData, resourceLimits });
    this.#worker.on("message", (message: FromWorker) => {
      switch (message.kind) {
        case "answer":
          this.#asked.get(message.id)?.(message.value as never);
          this.#asked.delete(message.id);
          this.#failed.delete(message.id);
          return;
        case "series":
          announce(message.notice);
          return;
        case "ejected":
          ejected(message.news);
          return;
        case "problems":
          problemsChanged(message.problems);
          return;
        case "log":
          log(message.level, message.message, message.fields);
          return;
      }
    });
    let end: LaneEnd = { cause: "exit", reason: "it ended" };
    this.#worker.on("error", (error) => {
      end = endOf(error);
    });
    const hung = (): void => {
      end = { cause: "hang", reason: `it has taken no turn for ${hangMs} ms` };
      void this.#worker.terminate();
    };
    const watch = new HangWatch({ beats, afterMs: hangMs, hung, every: everySystem });
    this.#worker.on("exit", () => {
      watch.end();
      this.#gone = true;
      for (const fail of this.#failed.values()) fail(new Error(`the thread has ended: ${end.reason}`));
      this.#failed.clear();
      this.#asked.clear();
      ended(end);
    });
  }

  prepare(snapshot: Snapshot, version: SnapshotVersion): Promise<readonly NamedProblem[]> {
    return this.#ask((id) => ({ kind: "prepare", id, snapshot, version }));
  }
  commit(busy: ReadonlySet<string>): Promise<readonly NamedProblem[]> {
    return this.#ask((id) => ({ kind: "commit", id, busy }));
  }
  discard(): void {
    this.#tell({ kind: "discard" });
  }
  close(closed: ClosedSections): void {
    this.#tell({ kind: "close", closed });
  }
  sample(): Promise<readonly ListenerState[]> {
    return this.#ask((id) => ({ kind: "sample", id }));
  }
  endpoints(): Promise<readonly EndpointView[]> {
    return this.#ask((id) => ({ kind: "endpoints", id }));
  }
  hear(news: readonly EndpointNews[]): void {
    this.#tell({ kind: "hear", news });
  }
  reopenLogs(): void {
    this.#tell({ kind: "reopenLogs" });
  }
  async letGo(withinMs: number, succeeded: boolean): Promise<void> {
    await this.#ask((id) => ({ kind: "letGo", id, withinMs, succeeded }));
  }
  async drain(withinMs: number): Promise<void> {
    await this.#ask((id) => ({ kind: "drain", id, withinMs }));
    await this.#worker.terminate();
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #ask<Answer>(message: (id: number) => ToWorker): Promise<Answer> {
    if (this.#gone) return Promise.reject(new Error("the thread has ended"));
    const id = this.#nextId++;
    return new Promise<Answer>((resolve, reject) => {
      this.#asked.set(id, resolve as (value: never) => void);
      this.#failed.set(id, reject);
      this.#tell(message(id));
    });
  }
}

function endOf(error: unknown): LaneEnd {
  if (!(error instanceof Error)) return { cause: "error", reason: String(error) };
  const isMemory = "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
  return isMemory ? { cause: "memory", reason: error.message } : { cause: "error", reason: error.stack ?? error.message };
}
