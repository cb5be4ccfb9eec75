/**
 * The control plane as its API sees it: objects with their statuses, changes that are published before they are answered, gateways and what they
 * enforce. What is published is publishing's to say, what gateways answered is distribution's.
 */

import { formatJoinToken } from "../gateway/core/identity/index.ts";
import { chunkRefs, snapshotVersion } from "../gateway/core/ir/index.ts";
import type {
  Answer,
  ApplyRequest,
  ChangeResponse,
  DeleteRequest,
  EndpointFilter,
  EndpointsResponse,
  EnforcedAnswer,
  GatewayView,
  JoinTokenRequest,
  JoinTokenResponse,
  ObjectChange,
  ObjectFilter,
  ObjectsResponse,
  Operations,
  PoolView,
  RevokeResponse,
  RollbackRequest,
  RollbackResponse,
  SnapshotListResponse,
  StatusResponse,
  TrustResponse,
} from "./api/index.ts";
import { type ConfigStore, KINDS, objectSchema, statusesOf } from "./config/index.ts";
import { type Problem, refKey } from "./config/resource.ts";
import {
  type DistributionServer,
  type EdgeDistribution,
  type Enrolment,
  type GatewayStatus,
  sameSnapshot,
} from "./distribute/index.ts";
import { endpointViews } from "./endpoint-view.ts";
import { gatewayView } from "./gateway-view.ts";
import type { Log } from "./log.ts";
import { Publishing } from "./publishing.ts";
import type { SecretReader } from "./secrets.ts";
import { siteTargets } from "./site-targets.ts";
import { siteAnswered, siteView } from "./site-view.ts";
import { encodeSnapshotFile, type KeyRing, type SnapshotHistory, type SnapshotPublisher } from "./snapshot/index.ts";

export interface ControlPlaneOptions {
  readonly store: ConfigStore;
  readonly publisher: SnapshotPublisher;
  readonly history: SnapshotHistory;
  readonly keys: KeyRing;
  readonly enrolment: Enrolment;
  readonly secrets: SecretReader;
  /** PEM of the authority that join tokens pin. */
  readonly ca: string;
  /** Unix ms. */
  readonly now: () => number;
  readonly log: Log;
}

const JOIN_TOKEN_TTL_MS = 3_600_000;

export class ControlPlane implements Operations {
  readonly #options: ControlPlaneOptions;
  readonly publishing: Publishing;
  #distribution: DistributionServer | undefined;
  #edge: EdgeDistribution | undefined;
  readonly #waiters = new Set<() => void>();

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
    const { store, publisher, keys, secrets, now, log } = options;
    this.publishing = new Publishing({
      store,
      publisher,
      keys,
      secrets,
      now,
      log,
      onPublished: (pool) => {
        this.#distribution?.published(pool);
        this.#edge?.published(pool);
      },
      onPass: () => {
        this.#edge?.follow(siteTargets(this.publishing.sites ?? [], secrets));
        this.gatewayChanged();
      },
    });
  }

  /** First pass. Resolves when every pool has its snapshot. */
  async start(distribution: DistributionServer, edge: EdgeDistribution): Promise<void> {
    this.#distribution = distribution;
    this.#edge = edge;
    this.publishing.queue();
    await this.publishing.passed();
  }

  notReady(): string | undefined {
    return this.publishing.pools === undefined ? "the first snapshots are not published yet" : undefined;
  }

  // ── objects ────────────────────────────────────────────────────────────────

  schemas(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(KINDS.map((definition) => [definition.kind, objectSchema(definition)]));
  }

  objects({ kind, namespace, name }: ObjectFilter): ObjectsResponse {
    const { store } = this.#options;
    const { set } = store;
    const statuses = statusesOf(set.objects, this.publishing.problems, {
      programmed: (ref, generation) => this.publishing.programmed(ref, generation),
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
        const manifest = store.manifest(status.ref);
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
      return { changes, problems, snapshots: this.publishing.versions() };
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
    await this.publishing.passed();
    const touched = new Set(changes.map(({ ref }) => refKey(ref)));
    const found = this.publishing.problems.filter(({ ref }) => ref !== undefined && touched.has(refKey(ref)));
    const enforced = waitMs === undefined ? undefined : await this.wait(waitMs);
    return {
      changes,
      problems: [...problems, ...found, ...this.publishing.failures],
      snapshots: this.publishing.versions(),
      ...(enforced && { enforced }),
    };
  }

  // ── gateways ───────────────────────────────────────────────────────────────

  status(): StatusResponse {
    const { items } = this.objects({});
    const gateways = this.#gateways();
    const refused = items.filter((item) => !item.status.accepted).length;
    const sites = new Map(this.publishing.sites?.map(({ name, site }) => [name, site.metadata.name]));
    const pools = (this.publishing.pools ?? []).map((name): PoolView => {
      const record = this.publishing.current(name);
      return {
        name,
        site: sites.get(name),
        version: record?.published.id,
        publishedMs: record?.publishedMs,
        gateways: gateways.filter((gateway) => gateway.pool === name),
      };
    });
    return {
      pools,
      objects: {
        accepted: items.length - refused,
        refused,
        withProblems: items.filter((item) => item.status.problems.length > 0).length,
      },
      problems: [
        ...this.#options.store.set.problems,
        ...this.publishing.ownProblems.filter(({ ref }) => ref === undefined),
        ...items.flatMap((item) => item.status.problems),
      ],
    };
  }

  endpoints(filter: EndpointFilter): EndpointsResponse {
    const gateways = this.#statuses();
    const sites = new Set(this.publishing.sites?.map(({ name }) => name));
    const pools = (this.publishing.pools ?? []).filter((name) => !sites.has(name));
    return {
      items: pools.flatMap((pool) => {
        const snapshot = this.publishing.snapshot(pool);
        return snapshot === undefined ? [] : endpointViews(pool, snapshot, gateways, filter);
      }),
    };
  }

  /** Answers as soon as every connected gateway and site has its pool's newest snapshot in force, or refused it. */
  async wait(timeoutMs: number): Promise<EnforcedAnswer> {
    const started = performance.now();
    await this.publishing.passed();
    const deadline = started + timeoutMs;
    while (!this.#allAnswered() && performance.now() < deadline) await this.#nextChange(deadline - performance.now());
    const gateways = this.#gateways();
    return {
      complete: gateways.every(({ state }) => state === "synced" || state === "disconnected"),
      tookMs: Math.round(performance.now() - started),
      gateways,
    };
  }

  /** To be called after each change of a gateway's state. */
  gatewayChanged(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  trust(): TrustResponse {
    const { root, pin } = this.publishing.keys;
    const { iss, version, expires } = root.document;
    return { issuer: iss, pin, version, expiresMs: expires * 1000 };
  }

  async joinToken(request: JoinTokenRequest): Promise<Answer<JoinTokenResponse>> {
    await this.publishing.passed();
    // A site's snapshots are for its Workers, which know each other by the site's secret.
    const sites = new Set(this.publishing.sites?.map(({ name }) => name));
    const pools = (this.publishing.pools ?? []).filter((name) => !sites.has(name));
    if (!pools.includes(request.pool)) {
      return { ok: false, status: 404, detail: `there is no pool of gateways ${request.pool}; pools: ${pools.join(", ")}` };
    }
    const uses = request.uses ?? 1;
    const issued = this.#options.enrolment.issueToken(request.pool, request.ttlMs ?? JOIN_TOKEN_TTL_MS, uses);
    const latest = this.publishing.latest(request.pool)?.ref;
    const token = formatJoinToken({
      id: issued.id,
      secret: issued.secret,
      pool: request.pool,
      ca: this.#options.ca,
      rootHash: this.publishing.keys.pin,
      floor: { epoch: latest?.epoch ?? 0, version: latest?.version ?? 0 },
      expires: Math.floor(issued.expiresMs / 1000),
    });
    return { ok: true, value: { token, pool: request.pool, expiresMs: issued.expiresMs, uses } };
  }

  revoke(gateway: string): Answer<RevokeResponse> {
    if (this.#distribution?.revoke(gateway) === true) {
      this.#options.log("info", "a gateway's credential was taken away", { gateway });
      this.gatewayChanged();
      return { ok: true, value: { gateway } };
    }
    const known = this.#statuses().map(({ id }) => id);
    const detail = `there is no gateway ${gateway}; gateways: ${known.length === 0 ? "none" : known.join(", ")}`;
    return { ok: false, status: 404, detail };
  }

  #statuses(): GatewayStatus[] {
    return this.#distribution?.status() ?? [];
  }

  #gateways(): GatewayView[] {
    const { pin } = this.publishing.keys;
    return [
      ...this.#statuses().map((gateway) => gatewayView(gateway, this.publishing.latest(gateway.pool)?.ref)),
      ...(this.#edge?.status() ?? []).map((site) => siteView(site, this.publishing.latest(site.pool)?.ref, pin)),
    ];
  }

  #allAnswered(): boolean {
    const sites = (this.#edge?.status() ?? []).filter(({ connection }) => connection !== undefined);
    return (
      this.#statuses().every((gateway) => !gateway.connected || this.#answered(gateway)) &&
      sites.every((site) => {
        const latest = this.publishing.latest(site.pool)?.ref;
        return latest === undefined || siteAnswered(site, latest);
      })
    );
  }

  #answered({ pool, state }: GatewayStatus): boolean {
    const latest = this.publishing.latest(pool)?.ref;
    if (latest === undefined) return true;
    return (
      (state.kind === "synced" && sameSnapshot(state.held, latest)) ||
      (state.kind === "refused" && sameSnapshot(state.refused, latest))
    );
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

  // ── snapshots ──────────────────────────────────────────────────────────────

  async snapshots(pool: string | undefined): Promise<SnapshotListResponse> {
    const { history } = this.#options;
    const names = (await history.pools()).filter((name) => pool === undefined || name === pool);
    const lists = await Promise.all(
      names.map(async (name) => {
        const current = this.publishing.current(name)?.published.id;
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
    const id = parseVersion(version);
    if (id === undefined || !(await this.#options.history.pools()).includes(pool)) {
      return {
        ok: false,
        status: 404,
        detail: `there is no snapshot ${version} of pool ${pool}; list them with: tidegate snapshot show`,
      };
    }
    const stored = await this.#options.history.manifest(pool, id);
    if (!stored.ok) return { ok: false, status: 404, detail: stored.error.map(({ problem }) => problem).join("; ") };
    const chunks = await this.#options.history.chunks(stored.value.manifest);
    if (!chunks.ok) return { ok: false, status: 404, detail: chunks.error.map(({ problem }) => problem).join("; ") };
    const file = encodeSnapshotFile({ jws: stored.value.jws, chunks: chunks.value });
    return { ok: true, value: JSON.parse(Buffer.from(file).toString("utf8")) };
  }

  async rollback(pool: string, request: RollbackRequest): Promise<Answer<RollbackResponse>> {
    const id = parseVersion(request.to);
    if (id === undefined)
      return { ok: false, status: 400, detail: `${request.to}: a version is written epoch.version, such as 1.12` };
    const outcome = await this.publishing.rollback(pool, id);
    if (outcome.kind === "refused") {
      return { ok: false, status: 409, detail: outcome.issues.map(({ path, problem }) => `${path}: ${problem}`).join("; ") };
    }
    const enforced = request.waitMs === undefined ? undefined : await this.wait(request.waitMs);
    return { ok: true, value: { pool, version: outcome.published.id, ...(enforced && { enforced }) } };
  }
}

function parseVersion(text: string): { readonly epoch: number; readonly version: number } | undefined {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(text);
  return match === null ? undefined : { epoch: Number(match[1]), version: Number(match[2]) };
}
