/**
 * The balancer of a cluster whose endpoints may be unwell, far away, warming up or behind a name. Inside is a balancer of those that may be chosen now;
 * it is built when that changes, and asking it costs two comparisons more than asking it alone.
 */
import { type ClusterHealth, stateOf } from "../health/cluster-health.ts";
import { isFit } from "../health/endpoint.ts";
import { warmShare } from "../health/warmup.ts";
import type { Cluster } from "../ir/index.ts";
import type { Random } from "../ports.ts";
import type { UpstreamEndpoint, UpstreamTarget } from "../step.ts";
import type { Balancer } from "./balancer.ts";
import { hashMember } from "./hash-balancer.ts";
import { buildHashTable, type HashKind, type HashMember, type HashTable, type HashTables } from "./hash-table.ts";
import { leafBalancer } from "./leaf.ts";
import { availability, DEFAULT_PANIC_PERCENT, type LevelLoad, levelLoads } from "./levels.ts";
import { type Member, type MemberSource, membersOf, type Names, resolvedMembers } from "./members.ts";
import type { RoundCursor } from "./round-robin.ts";
import { SpreadBalancer } from "./spread-balancer.ts";

/** What lives longer than a snapshot. */
export interface ManagedState {
  readonly health: ClusterHealth;
  /** Endpoints behind names, by key. */
  readonly resolved: Map<string, UpstreamEndpoint>;
  /** The balancer whose endpoints are the cluster's: that of the snapshot in force. */
  owner: ManagedBalancer | undefined;
  /** Of the rounds of levels and places. */
  readonly cursors: Map<string, RoundCursor>;
}

/** Members of one level in one place. */
type Group = readonly Member[];
type Level = readonly Group[];

export class ManagedBalancer implements Balancer {
  /** Of the cluster. */
  readonly health: ClusterHealth;
  readonly #source: MemberSource;
  readonly #state: ManagedState;
  readonly #tables: HashTables;
  /** Undefined: the endpoints are as configured. */
  readonly #names: Names | undefined;
  #members: readonly Member[];
  #levels: readonly Level[];
  #loads: readonly LevelLoad[] = [];
  #inner: Balancer | undefined;
  #builtFor = -1;
  #namesFor = -1;

  constructor(
    source: MemberSource,
    known: ReadonlyMap<string, UpstreamEndpoint> | undefined,
    state: ManagedState,
    tables: HashTables,
    names: Names | undefined,
  ) {
    this.#source = source;
    this.#state = state;
    this.health = state.health;
    this.#tables = tables;
    this.#names = source.cluster.discovery === "static" ? undefined : names;
    this.#members = this.#names === undefined ? membersOf(source, known) : [];
    this.#levels = levelsOf(this.#members);
    const { policy, hash } = source.cluster.loadBalancer;
    // The tables that hold while everybody is well are made beside the traffic.
    if (hash === undefined || (policy !== "ring-hash" && policy !== "maglev")) return;
    for (const level of this.#levels) for (const group of level) tables.of(policy, hash.tableSize, group.map(hashMember));
  }

  /** As of the last choice; see `refresh`. */
  get members(): readonly Member[] {
    return this.#members;
  }

  /** Why there is nobody to choose. */
  get emptiness(): { readonly code: "no_healthy_upstream" | "dns_failure"; readonly reason: string } {
    if (this.#members.length > 0)
      return { code: "no_healthy_upstream", reason: `none of ${this.#members.length} endpoints is healthy` };
    for (const { address } of this.#source.endpoints) {
      const answer = this.#names?.get(address);
      if (answer?.kind === "failed") return { code: "dns_failure", reason: `${address}: ${answer.reason}` };
    }
    return { code: "no_healthy_upstream", reason: "there is no endpoint" };
  }

  /**
   * To be called when the snapshot comes into force, when a name's answer is another than before, and whenever somebody wants to know what time
   * has changed.
   */
  refresh(nowMs: number): void {
    const { health } = this.#state;
    const names = this.#names;
    const moved = names !== undefined && names.version !== this.#namesFor && this.#resolve(names);
    if (moved || this.#state.owner !== this) {
      this.#state.owner = this;
      this.#follow(nowMs);
    }
    if (nowMs >= health.dueMs) health.advance(nowMs);
    if (this.#builtFor !== health.version) this.#build(nowMs);
  }

  next(random: Random, nowMs: number, hash: number | undefined): UpstreamTarget | undefined {
    const { health } = this;
    if (this.#builtFor !== health.version || nowMs >= health.dueMs) this.#catchUp(nowMs);
    return this.#inner?.next(random, nowMs, hash);
  }

  elsewhere(
    random: Random,
    nowMs: number,
    hash: number | undefined,
    tried: readonly UpstreamEndpoint[],
  ): UpstreamTarget | undefined {
    this.#catchUp(nowMs);
    const levels = new Set(this.#members.filter(({ target }) => tried.includes(target.endpoint)).map(({ place }) => place.level));
    for (const level of this.#levels.keys()) {
      const part = levels.has(level) ? undefined : this.#levelBalancer(level, false, nowMs);
      if (part !== undefined) return part.next(random, nowMs, hash);
    }
    return this.#inner?.next(random, nowMs, hash);
  }

  #catchUp(nowMs: number): void {
    // The first to be asked is the one in force, unless a runtime says so itself. Another's endpoints stay as they are.
    if (this.#state.owner === undefined || this.#state.owner === this) this.refresh(nowMs);
    else this.#build(nowMs);
  }

  /** @returns whether there are other members now */
  #resolve(names: Names): boolean {
    this.#namesFor = names.version;
    const { resolved } = this.#state;
    const members = resolvedMembers(this.#source, names, resolved);
    if (sameMembers(members, this.#members)) return false;
    this.#members = members;
    this.#levels = levelsOf(members);
    for (const { target } of members) resolved.set(target.endpoint.key, target.endpoint);
    this.#builtFor = -1;
    return true;
  }

  #follow(nowMs: number): void {
    const { outlier, loadBalancer } = this.#source.cluster;
    const endpoints = this.#members.map(({ target }) => target.endpoint);
    this.#state.health.follow(endpoints, { outlier, warmup: loadBalancer.warmup }, nowMs);
    const current = new Set(endpoints);
    // An address that went out of a name is forgotten when its last request is over.
    for (const [key, endpoint] of this.#state.resolved)
      if (!current.has(endpoint) && endpoint.active === 0) this.#state.resolved.delete(key);
  }

  #build(nowMs: number): void {
    if (this.#names !== undefined && this.#names.version !== this.#namesFor) this.#resolve(this.#names);
    this.#builtFor = this.#state.health.version;
    const counts = this.#levels.map((level) => {
      const all = level.flat();
      return { total: all.length, healthy: all.filter(fit).length };
    });
    if (counts.length === 0) {
      this.#inner = undefined;
      return;
    }
    const { panicPercent = DEFAULT_PANIC_PERCENT } = this.#source.cluster.loadBalancer;
    this.#loads = levelLoads(counts, panicPercent);
    this.#inner = spreadOver(
      this.#loads.map(({ percent, panics }, level) => ({
        share: percent,
        balancer: percent === 0 ? undefined : this.#levelBalancer(level, panics, nowMs),
      })),
    );
  }

  /** @param panics everybody takes part, well or not */
  #levelBalancer(level: number, panics: boolean, nowMs: number): Balancer | undefined {
    const groups = this.#levels[level] ?? [];
    return spreadOver(
      groups.map((group, i) => {
        const members = panics ? group : group.filter(fit);
        const weight = group[0]?.place.groupWeight ?? 0;
        const share = groups.length === 1 ? 1 : weight * availability({ total: group.length, healthy: members.length });
        return { share, balancer: members.length === 0 ? undefined : this.#leaf(group, members, `${level} ${i}`, nowMs) };
      }),
    );
  }

  #leaf(group: Group, members: Group, name: string, nowMs: number): Balancer {
    const { cluster } = this.#source;
    let cursor = this.#state.cursors.get(name);
    if (cursor === undefined) {
      cursor = { cursor: 0 };
      this.#state.cursors.set(name, cursor);
    }
    return leafBalancer(cluster.loadBalancer, warmed(members, cluster, nowMs), cursor, (kind, size, list) =>
      this.#table(kind, size, list, group, members),
    );
  }

  /** @param members some of `group`, or all */
  #table(kind: HashKind, size: number, list: readonly HashMember[], group: Group, members: Group): HashTable {
    const whole = this.#tables.find(kind, size, group.map(hashMember));
    if (whole === undefined) return buildHashTable(kind, size, list);
    if (members.length === group.length) return whole;
    const kept = new Set(members);
    return whole.restrictedTo(
      [...group.keys()].filter((i) => kept.has(group[i] as Member)),
      list,
    );
  }
}

function fit({ target }: Member): boolean {
  return isFit(stateOf(target.endpoint));
}

function levelsOf(members: readonly Member[]): readonly Level[] {
  const byLevel = [...grouped(members, ({ place }) => place.level)].sort(([a], [b]) => a - b);
  return byLevel.map(([, level]) => [...grouped(level, ({ place }) => place.group).values()]);
}

function grouped<K>(members: Group, keyOf: (member: Member) => K): ReadonlyMap<K, Group> {
  const groups = new Map<K, Member[]>();
  for (const member of members) {
    const key = keyOf(member);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [member]);
    else group.push(member);
  }
  return groups;
}

function sameMembers(a: readonly Member[], b: readonly Member[]): boolean {
  return a.length === b.length && a.every((member, i) => member.target.endpoint === b[i]?.target.endpoint);
}

function spreadOver(parts: readonly { readonly share: number; readonly balancer: Balancer | undefined }[]): Balancer | undefined {
  const taking = parts.filter(
    (part): part is { share: number; balancer: Balancer } => part.share > 0 && part.balancer !== undefined,
  );
  return taking.length > 1 ? new SpreadBalancer(taking) : taking[0]?.balancer;
}

/** Weights with what warming takes from them, in whole numbers. By hash an endpoint has its keys at once. */
function warmed(members: Group, { loadBalancer }: Cluster, nowMs: number): Group {
  const { warmup, hash } = loadBalancer;
  if (warmup === undefined || hash !== undefined) return members;
  if (members.every(({ target }) => stateOf(target.endpoint).kind !== "warming")) return members;
  return members.map((member) => {
    const state = stateOf(member.target.endpoint);
    const share = state.kind === "warming" ? warmShare(warmup, nowMs - state.sinceMs) : 1;
    return { ...member, weight: Math.max(1, Math.round(member.weight * WARM_SCALE * share)) };
  });
}

/** A weight of 1 has so many steps to grow by. */
const WARM_SCALE = 100;
