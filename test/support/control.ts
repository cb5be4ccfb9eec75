/** Both ends of distribution in this process: a control plane's server over real snapshots, and gateways that record what they install. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DistributionServer,
  EdgeDistribution,
  Enrolment,
  loadServerIdentity,
  type ServerIdentity,
  type SiteSnapshot,
  type SiteSnapshots,
  type SiteStatus,
  type SnapshotReader,
} from "../../controlplane/distribute/index.ts";
import {
  DEFAULT_KEY_PLAN,
  initKeys,
  type KeyRing,
  type Published,
  rotateKeys,
  type SectionAges,
  SnapshotHistory,
  SnapshotPublisher,
} from "../../controlplane/snapshot/index.ts";
import type { JoinToken } from "../../gateway/core/identity/index.ts";
import type { HeldSnapshot, Manifest, Snapshot, SnapshotAge } from "../../gateway/core/ir/index.ts";
import { snapshotVersion } from "../../gateway/core/ir/index.ts";
import { ControlClient, ControlStore, type Installer, type InstallOutcome } from "../../gateway/node/index.ts";

const POOL = "ingress";

export class TestControlPlane implements SnapshotReader, SiteSnapshots {
  readonly directory: string;
  readonly enrolment: Enrolment;
  /** Every chunk that was handed out, in order. */
  readonly served: string[] = [];
  readonly logged: string[] = [];
  /** What is handed out instead of what was published. */
  forged: Pick<SiteSnapshot, "ref" | "jws"> | undefined;
  /** Added to the clock. */
  aheadMs = 0;
  keys: KeyRing;
  port = 0;
  readonly #identity: ServerIdentity;
  readonly #publisher: SnapshotPublisher;
  #server: DistributionServer | undefined;
  readonly #edges = new Set<EdgeDistribution>();
  readonly #published: Published[] = [];

  private constructor(directory: string, keys: KeyRing, history: SnapshotHistory, identity: ServerIdentity) {
    this.directory = directory;
    this.keys = keys;
    this.#identity = identity;
    this.enrolment = new Enrolment(":memory:", () => this.now());
    this.#publisher = new SnapshotPublisher({ history, keys, clock: { unixMs: () => this.now() } });
  }

  static async start(): Promise<TestControlPlane> {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-distribution-"));
    const keys = await initKeys(
      join(directory, "keys"),
      { ...DEFAULT_KEY_PLAN, iss: "mesh.test" },
      Math.floor(Date.now() / 1000),
    );
    if (!keys.ok) throw new Error(JSON.stringify(keys.error));
    const history = await SnapshotHistory.open(join(directory, "snapshots"));
    const identity = await loadServerIdentity(join(directory, "tls"), [], Date.now());
    const plane = new TestControlPlane(directory, keys.value, history, identity);
    await plane.listen();
    return plane;
  }

  now(): number {
    return Date.now() + this.aheadMs;
  }

  /** On the port it had before, if there was one. */
  async listen(): Promise<void> {
    this.#server = new DistributionServer({
      snapshots: this,
      enrolment: this.enrolment,
      identity: this.#identity,
      now: () => this.now(),
      log: (message, fields) => this.logged.push(`${message} ${JSON.stringify(fields)}`),
    });
    this.port = await this.#server.listen("127.0.0.1", this.port);
  }

  get server(): DistributionServer {
    if (this.#server === undefined) throw new Error("not listening");
    return this.#server;
  }

  /** A control plane's side of the edge, over these snapshots. Ended with the rest. */
  edge(onChange: (site: SiteStatus) => void = () => undefined): EdgeDistribution {
    const edge = new EdgeDistribution({
      snapshots: this,
      now: () => this.now(),
      random: () => 0,
      onChange,
      log: (message, fields) => this.logged.push(`${message} ${JSON.stringify(fields)}`),
    });
    this.#edges.add(edge);
    return edge;
  }

  useAges(ages: SectionAges): void {
    this.#publisher.useAges(ages);
  }

  async publish(snapshot: Snapshot, rollout?: Manifest["rollout"]): Promise<Published> {
    const outcome = await this.#publisher.publish(POOL, snapshot, rollout);
    if (outcome.kind === "refused") throw new Error(JSON.stringify(outcome.issues));
    this.offer(outcome.published);
    return outcome.published;
  }

  offer(published: Published): void {
    this.#published.unshift(published);
    this.server.published(POOL);
    for (const edge of this.#edges) edge.published(POOL);
  }

  async rotate(): Promise<Published> {
    const options = { replace: "all" as const, nowS: Math.floor(this.now() / 1000), validityS: 86_400, raiseEpoch: false };
    const rotated = await rotateKeys(join(this.directory, "keys"), options);
    if (!rotated.ok) throw new Error(JSON.stringify(rotated.error));
    this.keys = rotated.value;
    this.#publisher.useKeys(rotated.value);
    const outcome = await this.#publisher.renew(POOL);
    if (outcome.kind !== "published") throw new Error(JSON.stringify(outcome));
    this.offer(outcome.published);
    return outcome.published;
  }

  token(change: Partial<JoinToken> = {}, uses = 1, ttlMs = 60_000): JoinToken {
    const { id, secret, expiresMs } = this.enrolment.issueToken(change.pool ?? POOL, ttlMs, uses);
    return {
      id,
      secret,
      pool: POOL,
      ca: this.#identity.ca,
      rootHash: this.keys.pin,
      floor: { epoch: 0, version: 0 },
      expires: Math.floor(expiresMs / 1000),
      ...change,
    };
  }

  latest(): SiteSnapshot | undefined {
    const [newest] = this.#published;
    if (newest === undefined) return undefined;
    return { ref: newest.manifest, jws: newest.jws, chunks: new ServedChunks(newest.chunks, this.served), ...this.forged };
  }

  chunk(hash: string): Uint8Array | undefined {
    this.served.push(hash);
    return this.#published.find(({ chunks }) => chunks.has(hash))?.chunks.get(hash);
  }

  trustRoots(fromVersion: number): readonly Uint8Array[] {
    return this.keys.roots.slice(Math.max(0, fromVersion - 1));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#edges].map((edge) => edge.close()));
    await this.server.close();
  }

  async end(): Promise<void> {
    await this.stop();
    this.enrolment.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Writes down which chunks were taken. */
class ServedChunks extends Map<string, Uint8Array> {
  readonly #served: string[];

  constructor(chunks: ReadonlyMap<string, Uint8Array>, served: string[]) {
    super(chunks);
    this.#served = served;
  }

  override get(hash: string): Uint8Array | undefined {
    this.#served.push(hash);
    return super.get(hash);
  }
}

/** Puts everything in force unless told otherwise, and keeps the record. */
export class RecordingInstaller implements Installer {
  readonly versions: string[] = [];
  readonly ages: SnapshotAge[] = [];
  held: HeldSnapshot | undefined;
  /** What to answer for a version; undefined: in force. */
  judge: (version: string) => InstallOutcome | undefined = () => undefined;

  async install(next: HeldSnapshot, persist: () => Promise<void>): Promise<InstallOutcome> {
    const version = snapshotVersion(next.manifest);
    const outcome = this.judge(version) ?? { kind: "in-force", problems: [] };
    if (outcome.kind === "refused") return outcome;
    await persist();
    this.versions.push(version);
    this.held = next;
    return outcome;
  }

  aged(age: SnapshotAge): void {
    this.ages.push(age);
  }
}

export interface TestControlledGateway {
  readonly client: ControlClient;
  readonly installer: RecordingInstaller;
  readonly logged: string[];
}

export interface ControlledGatewayOptions {
  readonly state: string;
  readonly port: number;
  readonly joinToken?: JoinToken;
  readonly installer?: RecordingInstaller;
  readonly unixMs?: () => number;
}

/** A gateway's control side, not started yet. */
export function controlledGateway({
  state,
  port,
  joinToken,
  installer,
  unixMs,
}: ControlledGatewayOptions): TestControlledGateway {
  const records = installer ?? new RecordingInstaller();
  const logged: string[] = [];
  const client = new ControlClient({
    address: `127.0.0.1:${port}`,
    gatewayId: "gw-1",
    store: new ControlStore(state),
    joinToken,
    installer: records,
    unixMs: unixMs ?? Date.now,
    random: () => 0,
    log: (level, message, fields) => logged.push(`${level}: ${message} ${JSON.stringify(fields)}`),
    software: "test",
  });
  return { client, installer: records, logged };
}
