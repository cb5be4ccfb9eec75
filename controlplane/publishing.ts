/**
 * Publishing: whenever the configuration changes it runs the pipeline and gives out what is new, and keeps what there is to say about objects
 * and pools. One pass at a time; changes that come meanwhile are in the next pass.
 */

import type { Snapshot } from "../gateway/core/ir/index.ts";
import { type ConfigSet, type ConfigStore, type ResourceOf, refOf } from "./config/index.ts";
import { type ObjectRef, type Problem, refKey } from "./config/resource.ts";
import type { SiteSnapshot, SiteSnapshots, SnapshotReader } from "./distribute/index.ts";
import type { Log } from "./log.ts";
import { agesOf, type PipelineOutput, rolloutAfterS, runPipeline, siteSizes, type TranslatedPool } from "./pipeline.ts";
import { readProxyUsers } from "./proxy-users.ts";
import type { SecretReader } from "./secrets.ts";
import { readSiteKeys } from "./site-keys.ts";
import type { KeyRing, Published, PublishOutcome, SnapshotPublisher } from "./snapshot/index.ts";
import { trustProblems } from "./trust-problems.ts";

export interface PublishingOptions {
  readonly store: ConfigStore;
  readonly publisher: SnapshotPublisher;
  readonly keys: KeyRing;
  readonly secrets: SecretReader;
  /** Unix ms. */
  readonly now: () => number;
  readonly log: Log;
  /** A pool has a new snapshot. */
  readonly onPublished: (pool: string) => void;
  /** A pass or a renewal is over. */
  readonly onPass: () => void;
}

/** Published snapshots of a pool whose chunks are handed out: the newest, and the one before it for gateways that are still fetching. */
const KEPT_PER_POOL = 2;

export interface PoolRecord {
  readonly published: Published;
  /** Unix ms. */
  readonly publishedMs: number;
}

/** A pool that is a site at the edge. */
export interface SitePool {
  /** Audience of its snapshots. */
  readonly name: string;
  readonly site: ResourceOf<"EdgeSite">;
}

/** Since when an object's generation is part of a pool's snapshot. */
export interface ProgrammedSince {
  readonly pool: string;
  /** First version that had it. */
  readonly snapshot: string;
  readonly sinceMs: number;
}

export class Publishing implements SnapshotReader, SiteSnapshots {
  readonly #options: PublishingOptions;
  #keys: KeyRing;
  #output: PipelineOutput | undefined;
  #ownProblems: readonly Problem[] = [];
  /** By pool: why its newest content was not given out. */
  readonly #failures = new Map<string, Problem>();
  /** Newest first. */
  readonly #records = new Map<string, readonly PoolRecord[]>();
  /** By pool, then `object|generation`. */
  readonly #since = new Map<string, Map<string, ProgrammedSince>>();
  #pass: Promise<void> = Promise.resolve();
  #queued = false;

  constructor(options: PublishingOptions) {
    this.#options = options;
    this.#keys = options.keys;
    options.store.subscribe(() => this.queue());
  }

  get keys(): KeyRing {
    return this.#keys;
  }
  /** Names of the pools of the mesh; undefined before the first pass. */
  get pools(): readonly string[] | undefined {
    return this.#output?.pools.map(({ pool }) => pool.name);
  }
  /** The pools that are sites, in the mesh's order; undefined before the first pass. */
  get sites(): readonly SitePool[] | undefined {
    return this.#output?.pools.flatMap(({ pool: { name, site } }) => (site === undefined ? [] : [{ name, site }]));
  }
  /** What was found behind validation: between objects, in translation, in what the mesh names. */
  get problems(): readonly Problem[] {
    return [...(this.#output?.problems ?? []), ...this.ownProblems];
  }
  /** Those that belong to the mesh rather than to what was applied. */
  get ownProblems(): readonly Problem[] {
    return [...this.#ownProblems, ...this.#failures.values()];
  }
  /** Why a pool's newest content was not given out. */
  get failures(): readonly Problem[] {
    return [...this.#failures.values()];
  }

  /** Asks for a pass; those asked for before it begins are one. */
  queue(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.#pass = this.#pass.then(async () => {
      this.#queued = false;
      await this.#run();
    });
  }

  /** Resolves when all that was changed before is published or refused. */
  async passed(): Promise<void> {
    await this.#pass;
  }

  /** The pool's snapshot in force. */
  current(pool: string): PoolRecord | undefined {
    return this.#records.get(pool)?.[0];
  }

  /** What the configuration makes of the pool; after a rollback gateways have an older one. */
  snapshot(pool: string): Snapshot | undefined {
    return this.#output?.pools.find((one) => one.pool.name === pool)?.snapshot;
  }

  /** Newest version of each pool. */
  versions(): readonly { readonly pool: string; readonly version: string }[] {
    return [...this.#records].flatMap(([pool, [current]]) => (current ? [{ pool, version: current.published.id }] : []));
  }

  programmed(ref: ObjectRef, generation: number): ProgrammedSince[] {
    const key = sinceKey(ref, generation);
    return [...this.#since.values()].flatMap((pool) => pool.get(key) ?? []);
  }

  async rollback(pool: string, to: { readonly epoch: number; readonly version: number }): Promise<PublishOutcome> {
    const outcome = await this.#options.publisher.rollback(pool, to);
    if (outcome.kind === "published") this.#told(outcome.published, outcome.policyClass);
    return outcome;
  }

  /** Signs again what is about to grow stale. What cannot be signed or written now is tried again the next time. */
  async renew(): Promise<void> {
    for (const pool of this.#records.keys()) {
      try {
        const outcome = await this.#options.publisher.renew(pool);
        if (outcome.kind === "published") this.#told(outcome.published, outcome.policyClass);
        if (outcome.kind === "refused") this.#warn(pool, reasonOf(outcome));
      } catch (error) {
        this.#warn(pool, messageOf(error));
      }
    }
    this.#options.onPass();
  }

  /** After a rotation: new signatures for everything, and the new trust root for everybody. */
  async useKeys(keys: KeyRing): Promise<void> {
    this.#keys = keys;
    this.#options.publisher.useKeys(keys);
    this.#options.log("info", "trust root in force", { version: keys.root.document.version, signers: keys.signers.length });
    await this.renew();
  }

  // ── what distribution reads ────────────────────────────────────────────────

  latest(pool: string): SiteSnapshot | undefined {
    const published = this.current(pool)?.published;
    return published && { ref: published.manifest, jws: published.jws, chunks: published.chunks };
  }

  chunk(hash: string): Uint8Array | undefined {
    for (const records of this.#records.values()) {
      for (const { published } of records) {
        const bytes = published.chunks.get(hash);
        if (bytes !== undefined) return bytes;
      }
    }
    return undefined;
  }

  trustRoots(fromVersion: number): readonly Uint8Array[] {
    return this.#keys.roots.slice(Math.max(0, fromVersion - 1));
  }

  // ── one pass ───────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    const { store, publisher, log } = this.#options;
    try {
      const { set } = store;
      const { output, ownProblems } = translateSet(set, this.#options.secrets);
      this.#ownProblems = [...ownProblems, ...trustProblems(output.mesh, this.#keys, set.resources)];
      publisher.useAges(agesOf(output.mesh));
      publisher.useSizeLimits(siteSizes(output));
      for (const { pool, snapshot, programmed } of output.pools) {
        if (!this.#records.has(pool.name)) await this.#lookBack(pool.name);
        const outcome = await publisher.publish(pool.name, snapshot, { afterS: rolloutAfterS(output.mesh, pool) });
        if (outcome.kind === "refused") {
          await this.#refused(pool, reasonOf(outcome));
          continue;
        }
        this.#failures.delete(pool.name);
        this.#note(outcome.published, programmed, set);
        if (outcome.kind === "published") this.#told(outcome.published, outcome.policyClass);
        else this.#keep(outcome.published);
      }
      this.#forget(new Set(output.pools.map(({ pool }) => pool.name)));
      this.#output = output;
    } catch (error) {
      log("error", "the configuration could not be published; gateways keep what they have", { reason: messageOf(error) });
      this.#failures.set("", failure(`not published: ${messageOf(error)}; gateways keep what they have`));
      this.#options.onPass();
      return;
    }
    this.#failures.delete("");
    this.#options.onPass();
  }

  /** Before a pool's first publication: what of its history on disk is damaged is told, once. Its version numbers are not given out again. */
  async #lookBack(pool: string): Promise<void> {
    const { problems } = await this.#options.publisher.current(pool);
    for (const { path, problem } of problems) {
      this.#options.log("error", "a snapshot on disk cannot be used; going on without it", { pool, file: path, reason: problem });
    }
  }

  /** What was given out last is handed out on, also right after a start. */
  async #refused({ name: pool, site }: TranslatedPool, reason: string): Promise<void> {
    this.#options.log("error", "snapshot not published; gateways keep what they have", { pool, reason });
    const problem = failure(`pool ${pool}: snapshot not published: ${reason}; gateways keep what they have`);
    this.#failures.set(pool, site === undefined ? problem : { ...problem, ref: refOf(site), source: site.source });
    const { published } = await this.#options.publisher.current(pool);
    if (published !== undefined) this.#keep(published);
  }

  /** A pool that the mesh no longer has gets no more signatures; its history stays on the disk. */
  #forget(pools: ReadonlySet<string>): void {
    for (const kept of [this.#records, this.#since, this.#failures]) {
      for (const pool of kept.keys()) if (!pools.has(pool) && pool !== "") kept.delete(pool);
    }
  }

  #told(published: Published, policyClass: string): void {
    this.#keep(published);
    this.#options.log("info", "snapshot published", { pool: published.pool, version: published.id, egress: policyClass });
    this.#options.onPublished(published.pool);
  }

  #warn(pool: string, reason: string): void {
    this.#options.log("error", "a snapshot could not be signed again; gateways keep what they have", { pool, reason });
  }

  #keep(published: Published): void {
    const before = this.#records.get(published.pool) ?? [];
    if (before[0]?.published.id === published.id) return;
    const record = { published, publishedMs: published.manifest.iat * 1000 };
    this.#records.set(published.pool, [record, ...before].slice(0, KEPT_PER_POOL));
  }

  /** Remembers since which version each object's generation is part of the pool's snapshot. */
  #note({ pool, id }: Published, programmed: readonly ObjectRef[], set: ConfigSet): void {
    const generations = new Map(
      set.resources.map(({ kind, metadata }) => [
        refKey({ kind, namespace: metadata.namespace, name: metadata.name }),
        metadata.generation,
      ]),
    );
    const before = this.#since.get(pool);
    const sinceMs = this.#options.now();
    this.#since.set(
      pool,
      new Map(
        programmed.map((ref) => {
          const key = sinceKey(ref, generations.get(refKey(ref)) ?? 0);
          return [key, before?.get(key) ?? { pool, snapshot: id, sinceMs }];
        }),
      ),
    );
  }
}

function translateSet(
  set: ConfigSet,
  secrets: SecretReader,
): { readonly output: PipelineOutput; readonly ownProblems: readonly Problem[] } {
  const mesh = set.resources.find((resource) => resource.kind === "MeshConfig");
  const { users, problems } = readProxyUsers(mesh?.kind === "MeshConfig" ? mesh.spec.proxyUsers.file : undefined);
  const userProblems = problems.map(
    (message): Problem => ({
      severity: "error",
      ref: undefined,
      path: "spec.proxyUsers.file",
      message,
      source: mesh?.source ?? { file: "", line: 0, column: 0 },
    }),
  );
  const sites = readSiteKeys(set.resources, secrets);
  return { output: runPipeline(set, users, sites.keys), ownProblems: [...userProblems, ...sites.problems] };
}

function failure(message: string): Problem {
  return { severity: "error", ref: undefined, path: "", message, source: { file: "control plane", line: 0, column: 0 } };
}

function reasonOf({ issues }: PublishOutcome & { readonly kind: "refused" }): string {
  return issues.map(({ path, problem }) => `${path}: ${problem}`).join("; ");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function sinceKey(ref: ObjectRef, generation: number): string {
  return `${refKey(ref)}|${generation}`;
}
