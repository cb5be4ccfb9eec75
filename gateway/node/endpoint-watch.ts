/**
 * What the main thread finds out about endpoints for all threads: what names stand for, who fails checks, and whom one thread has ejected. A thread that is
 * born later is told what is known.
 */
import type { NameAnswer, Random } from "../core/index.ts";
import { parseAddress } from "../core/index.ts";
import type { Cluster, Endpoint, Snapshot } from "../core/ir/index.ts";
import type { ArmTimer } from "./deadlines.ts";
import type { EjectionNews, EndpointNews } from "./endpoint-news.ts";
import { type CheckedEndpoint, HealthChecker, type HealthVerdict, type Probe } from "./health.ts";
import { type Ask, NameResolver } from "./upstream/dns.ts";

export interface WatchOptions {
  readonly ask: Ask;
  readonly probe: Probe;
  readonly random: Random;
  readonly arm: ArmTimer;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** To all threads. */
  readonly tell: (news: readonly EndpointNews[]) => void;
  readonly probed: (cluster: string, isWell: boolean) => void;
  readonly log: (level: "info" | "warn", message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** After a name's answer, before its addresses are asked how they are. */
export const FOLLOW_DELAY_MS = 50;

interface Ejected {
  readonly news: EjectionNews;
  readonly untilMs: number;
}

export class EndpointWatch {
  readonly #options: WatchOptions;
  readonly #resolver: NameResolver;
  readonly #checker: HealthChecker;
  /** By key. */
  readonly #ejected = new Map<string, Ejected>();
  #snapshot: Pick<Snapshot, "clusters" | "endpoints"> | undefined;
  #disarm: (() => void) | undefined;

  constructor(options: WatchOptions) {
    const { ask, probe, random, arm, probed } = options;
    this.#options = options;
    this.#resolver = new NameResolver({ ask, random, arm, changed: (name, answer) => this.#resolved(name, answer) });
    this.#checker = new HealthChecker({ probe, random, arm, probed, changed: (verdicts) => this.#checked(verdicts) });
  }

  /** The snapshot is in force: its names and checks, and no others. */
  follow(snapshot: Pick<Snapshot, "clusters" | "endpoints">): void {
    this.#snapshot = snapshot;
    this.#resolver.follow(namesOf(snapshot));
    this.#followChecks();
    this.#options.tell(this.known());
  }

  /** What threads have to know that have heard nothing yet, or have just made new endpoints. */
  known(): readonly EndpointNews[] {
    const nowMs = this.#options.now();
    for (const [key, { untilMs }] of this.#ejected) if (untilMs <= nowMs) this.#ejected.delete(key);
    return [
      ...this.#resolver.answers().map(([name, answer]): EndpointNews => ({ kind: "name", name, answer })),
      ...this.#checker.failing().map(newsOf),
      ...[...this.#ejected.values()].map(({ news, untilMs }): EndpointNews => ({ ...news, forMs: untilMs - nowMs })),
    ];
  }

  /** A thread has ejected an endpoint. */
  ejected(news: EjectionNews): void {
    this.#ejected.set(news.key, { news, untilMs: this.#options.now() + news.forMs });
  }

  close(): void {
    this.#disarm?.();
    this.#resolver.close();
    this.#checker.close();
  }

  #resolved(name: string, answer: NameAnswer): void {
    const { tell, log } = this.#options;
    if (answer.kind === "failed") log("warn", "an endpoint's name does not resolve", { name, reason: answer.reason });
    tell([{ kind: "name", name, answer }]);
    // Names are answered one by one: their addresses are asked how they are together.
    if (this.#snapshot?.clusters.some(({ healthCheck }) => healthCheck !== undefined)) this.#disarm ??= this.#followSoon();
  }

  #followSoon(): () => void {
    return this.#options.arm(FOLLOW_DELAY_MS, () => {
      this.#disarm = undefined;
      this.#followChecks();
    });
  }

  #checked(verdicts: readonly HealthVerdict[]): void {
    const { tell, log } = this.#options;
    for (const { cluster, key, failure } of verdicts) {
      // The check outweighs the ejection, and one that passes again ends it.
      this.#ejected.delete(key);
      if (failure === undefined) log("info", "an endpoint is healthy", { cluster, endpoint: key });
      else log("warn", "an endpoint is unhealthy", { cluster, endpoint: key, reason: failure });
    }
    tell(verdicts.map(newsOf));
  }

  #followChecks(): void {
    if (this.#snapshot === undefined) return;
    const lists = new Map(this.#snapshot.endpoints.map(({ cluster, endpoints }) => [cluster, endpoints]));
    this.#checker.follow(this.#snapshot.clusters.flatMap((cluster) => this.#targets(cluster, lists.get(cluster.name) ?? [])));
  }

  #targets(cluster: Cluster, endpoints: readonly Endpoint[]): readonly CheckedEndpoint[] {
    const { healthCheck: check, name, tls, host, protocol, proxyProtocol } = cluster;
    const isHttp2 = protocol === "http2";
    if (check === undefined) return [];
    return endpoints.flatMap(({ address: configured, port }) =>
      this.#addresses(cluster, configured).map((address) => ({
        cluster: name,
        key: `${name}|${address}|${port}`,
        target: {
          address,
          port,
          hostname: address === configured ? undefined : configured,
          check,
          tls,
          host,
          isHttp2,
          proxyProtocol,
        },
      })),
    );
  }

  /** A name that is not resolved yet is asked nothing: nobody knows whom. */
  #addresses({ discovery }: Cluster, address: string): readonly string[] {
    if (parseAddress(address) !== undefined) return [address];
    const answer = this.#resolver.get(address);
    if (answer?.kind !== "addresses") return [];
    return discovery === "logical-dns" ? answer.addresses.slice(0, 1) : answer.addresses;
  }
}

/** Names that have to be resolved. */
export function namesOf({ clusters, endpoints }: Pick<Snapshot, "clusters" | "endpoints">): ReadonlySet<string> {
  const named = new Set(clusters.filter(({ discovery }) => discovery !== "static").map(({ name }) => name));
  return new Set(
    endpoints
      .filter(({ cluster }) => named.has(cluster))
      .flatMap((list) => list.endpoints.map(({ address }) => address))
      .filter((address) => parseAddress(address) === undefined),
  );
}

function newsOf({ cluster, key, failure }: HealthVerdict): EndpointNews {
  return { kind: "checked", cluster, key, failure };
}
