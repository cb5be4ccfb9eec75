/**
 * The control plane at work: whenever the configuration changes it runs the pipeline, publishes what is new, tells distribution, and
 * keeps what there is to say about every object and gateway. One pass at a time; changes that come meanwhile are in the next pass.
 */

import { formatJoinToken } from "../gateway/core/identity/index.ts";
import { chunkRefs, snapshotVersion } from "../gateway/core/ir/index.ts";
import type {
  Answer,
  ApplyRequest,
  ChangeResponse,
  DeleteRequest,
  EnforcedAnswer,
  GatewayView,
  JoinTokenRequest,
  JoinTokenResponse,
  ObjectChange,
  ObjectFilter,
  ObjectsResponse,
  Operations,
  PoolView,
  RollbackRequest,
  RollbackResponse,
  SnapshotListResponse,
  StatusResponse,
} from "./api/index.ts";
import { type ConfigStore, KINDS, objectSchema, statusesOf } from "./config/index.ts";
import { type ObjectRef, type Problem, refKey } from "./config/resource.ts";
import {
  type DistributionServer,
  type Enrolment,
  type GatewayStatus,
  type SnapshotReader,
  sameSnapshot,
} from "./distribute/index.ts";
import { gatewayView } from "./gateway-view.ts";
import type { Log } from "./log.ts";
import { agesOf, type PipelineOutput, runPipeline } from "./pipeline.ts";
import { readProxyUsers } from "./proxy-users.ts";
import {
  encodeSnapshotFile,
  type KeyRing,
  type Published,
  type SnapshotHistory,
  type SnapshotPublisher,
} from "./snapshot/index.ts";

export interface ControlPlaneOptions {
  readonly store: ConfigStore;
  readonly publisher: SnapshotPublisher;
  readonly history: SnapshotHistory;
  readonly keys: KeyRing;
  readonly enrolment: Enrolment;
  /** PEM of the authority that join tokens pin. */
  readonly ca: string;
  /** Unix ms. */
  readonly now: () => number;
  readonly log: Log;
}

const JOIN_TOKEN_TTL_MS = 3_600_000;
/** Published snapshots of a pool whose chunks are handed out: the newest, and the one before it for gateways that are still fetching. */
const KEPT_PER_POOL = 2;

interface PoolRecord {
  readonly published: Published;
  readonly publishedMs: number;
}

export class ControlPlane implements Operations, SnapshotReader {
  readonly #options: ControlPlaneOptions;
  #keys: KeyRing;
  #distribution: DistributionServer | undefined;
  #output: PipelineOutput | undefined;
  #ownProblems: readonly Problem[] = [];
  /** Newest first. */
  readonly #pools = new Map<string, readonly PoolRecord[]>();
  /** `pool|object|generation` → the first version that had it. */
  readonly #since = new Map<string, { readonly snapshot: string; readonly sinceMs: number }>();
  readonly #waiters = new Set<() => void>();
  #pass: Promise<void> = Promise.resolve();
  #queued = false;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
    this.#keys = options.keys;
    options.store.subscribe(() => this.#queue());
  }

  /** First pass. Resolves when every pool has its snapshot. */
  async start(distribution: DistributionServer): Promise<void> {
    this.#distribution = distribution;
    this.#queue();
    await this.#pass;
  }

  // ── publishing ─────────────────────────────────────────────────────────────

  #queue(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.#pass = this.#pass.then(async () => {
      this.#queued = false;
      await this.#run();
    });
  }

  async #run(): Promise<void> {
    const { store, publisher, log } = this.#options;
    try {
      const { set } = store;
      const first = runPipelineFor(set);
      const { output, userProblems } = first;
      this.#ownProblems = [...userProblems, ...this.#trustProblems(output)];
      publisher.useAges(agesOf(output.mesh));
      for (const { pool, snapshot, programmed } of output.pools) {
        const outcome = await publisher.publish(pool.name, snapshot);
        if (outcome.kind === "refused") {
          const reason = outcome.issues.map(({ path, problem }) => `${path}: ${problem}`).join("; ");
          log("error", "snapshot not published; gateways keep what they have", { pool: pool.name, reason });
          continue;
        }
        const { published } = outcome;
        this.#note(published, programmed);
        if (outcome.kind === "published") this.#told(published, outcome.policyClass);
        else this.#keep(published);
      }
      this.#output = output;
    } catch (error) {
      log("error", "the configuration could not be published", {
        reason: error instanceof Error ? error.message : String(error),
      });
    }
    this.#changed();
  }

  #told(published: Published, policyClass: string): void {
    this.#keep(published);
    this.#options.log("info", "snapshot published", { pool: published.pool, version: published.id, egress: policyClass });
    this.#distribution?.published(published.pool);
  }

  #keep(published: Published): void {
    const before = this.#pools.get(published.pool) ?? [];
    if (before[0]?.published.id === published.id) return;
    const record = { published, publishedMs: published.manifest.iat * 1000 };
    this.#pools.set(published.pool, [record, ...before].slice(0, KEPT_PER_POOL));
  }

  /** Remembers since which version each object's generation is part of the pool's snapshot. */
  #note(published: Published, programmed: readonly ObjectRef[]): void {
    const generations = new Map(
      this.#options.store.set.resources.map(({ kind, metadata }) => [
        refKey({ kind, namespace: metadata.namespace, name: metadata.name }),
        metadata.generation,
      ]),
    );
    const current = new Set<string>();
    for (const ref of programmed) {
      const key = sinceKey(published.pool, ref, generations.get(refKey(ref)) ?? 0);
      current.add(key);
      if (!this.#since.has(key)) this.#since.set(key, { snapshot: published.id, sinceMs: this.#options.now() });
    }
    for (const key of this.#since.keys()) if (key.startsWith(`${published.pool}|`) && !current.has(key)) this.#since.delete(key);
  }

  /** Signs again what is about to grow stale. */
  async renew(): Promise<void> {
    for (const pool of this.#pools.keys()) {
      const outcome = await this.#options.publisher.renew(pool);
      if (outcome.kind === "published") this.#told(outcome.published, outcome.policyClass);
    }
    this.#changed();
  }

  /** After a rotation: new signatures for everything, and the new trust root for everybody. */
  async useKeys(keys: KeyRing): Promise<void> {
    this.#keys = keys;
    this.#options.publisher.useKeys(keys);
    this.#options.log("info", "trust root in force", { version: keys.root.document.version, signers: keys.signers.length });
    await this.renew();
  }

  // ── what distribution reads ────────────────────────────────────────────────

  latest(pool: string): ReturnType<SnapshotReader["latest"]> {
    const published = this.#pools.get(pool)?.[0]?.published;
    return published && { ref: published.manifest, jws: published.jws };
  }

  chunk(hash: string): Uint8Array | undefined {
    for (const records of this.#pools.values()) {
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

  // ── what the API asks ──────────────────────────────────────────────────────

  notReady(): string | undefined {
    return this.#output === undefined ? "the first snapshots are not published yet" : undefined;
  }

  schemas(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(KINDS.map((definition) => [definition.kind, objectSchema(definition)]));
  }

  objects({ kind, namespace, name }: ObjectFilter): ObjectsResponse {
    const { set } = this.#options.store;
    const statuses = statusesOf(set.objects, this.#laterProblems(), {
      programmed: (ref, generation) =>
        [...this.#pools.keys()].flatMap((pool) => {
          const since = this.#since.get(sinceKey(pool, ref, generation));
          return since === undefined ? [] : [{ pool, ...since }];
        }),
    });
    const wanted = statuses.filter(
      ({ ref }) =>
        (kind === undefined || ref.kind === kind) &&
        (namespace === undefined || ref.namespace === namespace) &&
        (name === undefined || ref.name === name),
    );
    const resources = new Map(set.objects.map((object) => [refKey(object.ref), object.resource]));
    return {
      items: wanted.map((status) => {
        const resource = resources.get(refKey(status.ref));
        const manifest = this.#options.store.manifest(status.ref);
        return {
          apiVersion: manifest?.apiVersion ?? resource?.apiVersion ?? "",
          kind: status.ref.kind,
          metadata: {
            name: status.ref.name,
            namespace: status.ref.namespace,
            generation: status.generation ?? 0,
            createdMs: resource?.metadata.createdMs ?? 0,
            labels: resource?.metadata.labels ?? {},
            annotations: resource?.metadata.annotations ?? {},
          },
          spec: manifest?.spec ?? null,
          status: {
            accepted: status.accepted,
            programmed: status.programmed.map(({ pool, snapshot }) => ({ pool, since: snapshot })),
            problems: status.problems,
          },
          source: status.source.file || status.origin,
        };
      }),
    };
  }

  async apply(request: ApplyRequest, who: string): Promise<ChangeResponse> {
    const { store } = this.#options;
    const changes: ObjectChange[] = [];
    const problems: Problem[] = [];
    if (request.dryRun === true) {
      for (const { file, text } of request.documents) {
        const diff = store.diff(text, { file });
        changes.push(...diff.objects.map(({ ref, change, fields }) => ({ ref, change, fields })));
        problems.push(...diff.problems, ...diff.objects.flatMap((object) => object.problems));
      }
      return { changes, problems, snapshots: this.#versions() };
    }
    for (const { file, text } of request.documents) {
      const outcome = store.apply(text, { who, file });
      changes.push(...outcome.objects.map(({ ref, outcome: change }) => ({ ref, change })));
      problems.push(...outcome.problems, ...outcome.objects.flatMap((object) => object.problems));
    }
    return await this.#after(request.waitMs, changes, problems);
  }

  async delete(request: DeleteRequest, who: string): Promise<ChangeResponse> {
    const outcome = this.#options.store.delete(request.refs, { who });
    const changes = outcome.objects.map(({ ref, outcome: change }) => ({ ref, change }));
    return await this.#after(request.waitMs, changes, [
      ...outcome.problems,
      ...outcome.objects.flatMap((object) => object.problems),
    ]);
  }

  /** Waits for the pass that has the change, adds what it found about the changed objects, and waits for gateways when asked to. */
  async #after(
    waitMs: number | undefined,
    changes: readonly ObjectChange[],
    problems: readonly Problem[],
  ): Promise<ChangeResponse> {
    await this.#pass;
    const touched = new Set(changes.map(({ ref }) => refKey(ref)));
    const found = this.#laterProblems().filter((problem) => problem.ref !== undefined && touched.has(refKey(problem.ref)));
    const enforced = waitMs === undefined ? undefined : await this.wait(waitMs);
    return { changes, problems: [...problems, ...found], snapshots: this.#versions(), ...(enforced && { enforced }) };
  }

  status(): StatusResponse {
    const { items } = this.objects({});
    const refused = items.filter((item) => !item.status.accepted).length;
    const pools = [...(this.#output?.pools.map(({ pool }) => pool.name) ?? [])];
    return {
      pools: pools.map((name): PoolView => {
        const record = this.#pools.get(name)?.[0];
        return {
          name,
          version: record?.published.id,
          publishedMs: record?.publishedMs,
          gateways: this.#gateways().filter((gateway) => gateway.pool === name),
        };
      }),
      objects: {
        accepted: items.length - refused,
        refused,
        withProblems: items.filter((item) => item.status.problems.length > 0).length,
      },
      problems: [...this.#options.store.set.problems, ...this.#ownProblems, ...items.flatMap((item) => item.status.problems)],
    };
  }

  /** Answers as soon as every connected gateway has taken or refused its pool's newest snapshot. */
  async wait(timeoutMs: number): Promise<EnforcedAnswer> {
    const started = performance.now();
    await this.#pass;
    const settled = (): boolean => this.#statuses().every((gateway) => !gateway.connected || this.#answered(gateway));
    const deadline = started + timeoutMs;
    while (!settled() && performance.now() < deadline) await this.#nextChange(deadline - performance.now());
    const gateways = this.#gateways();
    return {
      complete: gateways.every(({ state }) => state === "synced" || state === "disconnected"),
      tookMs: Math.round(performance.now() - started),
      gateways,
    };
  }

  async snapshots(pool: string | undefined): Promise<SnapshotListResponse> {
    const { history } = this.#options;
    const names = (await history.pools()).filter((name) => pool === undefined || name === pool);
    const lists = await Promise.all(
      names.map(async (name) => {
        const current = this.#pools.get(name)?.[0]?.published.id;
        const { manifests } = await history.list(name);
        return manifests.map(({ id, manifest }) => ({
          pool: name,
          version: snapshotVersion(id),
          publishedMs: manifest.iat * 1000,
          policyClass: manifest.policyClass,
          bytes: chunkRefs(manifest).reduce((sum, chunk) => sum + chunk.bytes, 0),
          current: snapshotVersion(id) === current,
        }));
      }),
    );
    return { items: lists.flat() };
  }

  async snapshotFile(pool: string, version: string): Promise<Answer<unknown>> {
    const [epoch = 0, number = 0] = version.split(".").map(Number);
    const { history } = this.#options;
    const stored = await history.manifest(pool, { epoch, version: number });
    if (!stored.ok) return { ok: false, status: 404, detail: stored.error.map(({ problem }) => problem).join("; ") };
    const chunks = await history.chunks(stored.value.manifest);
    if (!chunks.ok) return { ok: false, status: 404, detail: chunks.error.map(({ problem }) => problem).join("; ") };
    const file = encodeSnapshotFile({ jws: stored.value.jws, chunks: chunks.value });
    return { ok: true, value: JSON.parse(Buffer.from(file).toString("utf8")) };
  }

  async rollback(pool: string, request: RollbackRequest): Promise<Answer<RollbackResponse>> {
    const [epoch = 0, version = 0] = request.to.split(".").map(Number);
    const outcome = await this.#options.publisher.rollback(pool, { epoch, version });
    if (outcome.kind === "refused") {
      return { ok: false, status: 409, detail: outcome.issues.map(({ path, problem }) => `${path}: ${problem}`).join("; ") };
    }
    if (outcome.kind === "published") this.#told(outcome.published, outcome.policyClass);
    const enforced = request.waitMs === undefined ? undefined : await this.wait(request.waitMs);
    return { ok: true, value: { pool, version: outcome.published.id, ...(enforced && { enforced }) } };
  }

  async joinToken(request: JoinTokenRequest): Promise<Answer<JoinTokenResponse>> {
    await this.#pass;
    const pools = this.#output?.pools.map(({ pool }) => pool.name) ?? [];
    if (!pools.includes(request.pool)) {
      return { ok: false, status: 404, detail: `there is no pool ${request.pool}; pools: ${pools.join(", ")}` };
    }
    const uses = request.uses ?? 1;
    const issued = this.#options.enrolment.issueToken(request.pool, request.ttlMs ?? JOIN_TOKEN_TTL_MS, uses);
    const latest = this.latest(request.pool)?.ref;
    const token = formatJoinToken({
      id: issued.id,
      secret: issued.secret,
      pool: request.pool,
      ca: this.#options.ca,
      rootHash: this.#keys.pin,
      floor: { epoch: latest?.epoch ?? 0, version: latest?.version ?? 0 },
      expires: Math.floor(issued.expiresMs / 1000),
    });
    return { ok: true, value: { token, pool: request.pool, expiresMs: issued.expiresMs, uses } };
  }

  // ── gateways ───────────────────────────────────────────────────────────────

  /** To be called after each change of a gateway's state. */
  gatewayChanged(): void {
    this.#changed();
  }

  #statuses(): GatewayStatus[] {
    return this.#distribution?.status() ?? [];
  }

  #gateways(): GatewayView[] {
    return this.#statuses().map((gateway) => gatewayView(gateway, this.latest(gateway.pool)?.ref));
  }

  #answered({ pool, state }: GatewayStatus): boolean {
    const latest = this.latest(pool)?.ref;
    if (latest === undefined) return true;
    return (
      (state.kind === "synced" && sameSnapshot(state.held, latest)) ||
      (state.kind === "refused" && sameSnapshot(state.refused, latest))
    );
  }

  #changed(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  async #nextChange(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.max(0, timeoutMs));
      this.#waiters.add(wake);
    });
  }

  // ── the rest ───────────────────────────────────────────────────────────────

  #laterProblems(): readonly Problem[] {
    return [...(this.#output?.problems ?? []), ...this.#ownProblems];
  }

  #versions(): ChangeResponse["snapshots"] {
    return [...this.#pools.entries()].flatMap(([pool, [current]]) => (current ? [{ pool, version: current.published.id }] : []));
  }

  /** MeshConfig says what the trust root should ask for; only `keys rotate` can make it so. */
  #trustProblems({ mesh }: PipelineOutput): readonly Problem[] {
    const { document } = this.#keys.root;
    const found: string[] = [];
    if (mesh.trustDomain !== document.iss) {
      found.push(
        `spec.trustDomain is ${mesh.trustDomain}, the trust root speaks for ${document.iss}; make keys for it (tidegate keys init)`,
      );
    }
    for (const role of ["routes", "egress", "quota"] as const) {
      const wanted = mesh.signatures[role];
      const { threshold } = document.roles[role];
      if (wanted.narrowing > threshold) {
        found.push(`spec.signatures.${role}.narrowing asks for ${wanted.narrowing} signatures, the trust root for ${threshold}`);
      }
    }
    if (mesh.signatures.egress.widening > document.roles.egress.wideningThreshold) {
      found.push(
        `spec.signatures.egress.widening asks for ${mesh.signatures.egress.widening} signatures, the trust root for ${document.roles.egress.wideningThreshold}`,
      );
    }
    const meshObject = this.#options.store.set.resources.find((resource) => resource.kind === "MeshConfig");
    const ref = meshObject && { kind: "MeshConfig", namespace: meshObject.metadata.namespace, name: meshObject.metadata.name };
    return found.map((message) => ({
      severity: "warning",
      ref,
      path: "spec",
      message,
      source: meshObject?.source ?? { file: "trust root", line: 0, column: 0 },
    }));
  }
}

function runPipelineFor(set: ConfigStore["set"]): { output: PipelineOutput; userProblems: readonly Problem[] } {
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
  return { output: runPipeline(set, users), userProblems };
}

function sinceKey(pool: string, ref: ObjectRef, generation: number): string {
  return `${pool}|${refKey(ref)}|${generation}`;
}
