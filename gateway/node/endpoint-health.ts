/** What one thread knows of its endpoints: what it has seen itself, and what others have told. */
import {
  applyHealth,
  type Clock,
  type EndpointView,
  endpointViews,
  type HealthChange,
  refreshHealth,
  type Tables,
} from "../core/index.ts";
import type { Snapshot } from "../core/ir/index.ts";
import { type EjectionNews, type EndpointNews, healthEvent, NameTable } from "./endpoint-news.ts";
import { namesOf } from "./endpoint-watch.ts";
import type { GatewayMeters } from "./gateway-meters.ts";
import { closeIdle } from "./upstream/pools.ts";

export interface EndpointHealthPorts {
  readonly clock: Clock;
  readonly meters: Pick<GatewayMeters, "spared" | "ejected">;
  /** Told when this thread has ejected an endpoint. */
  readonly ejected: (news: EjectionNews) => void;
  readonly log: (level: "warn", message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export class EndpointHealth {
  /** Answers for names that clusters are found by. */
  readonly names = new NameTable();
  readonly #ports: EndpointHealthPorts;

  constructor(ports: EndpointHealthPorts) {
    this.#ports = ports;
  }

  /** These tables are in force now. */
  follow(tables: Tables, snapshot: Snapshot): void {
    this.names.keep(namesOf(snapshot));
    refreshHealth(tables, this.#ports.clock.now());
  }

  views(tables: Tables): readonly EndpointView[] {
    return endpointViews(tables, this.#ports.clock.now());
  }

  /** What other threads have found out. */
  hear(news: readonly EndpointNews[], tables: Tables | undefined): void {
    const nowMs = this.#ports.clock.now();
    for (const item of news) {
      if (item.kind === "name") this.names.set(item.name, item.answer);
      else if (tables !== undefined) applyHealth(tables, item.cluster, item.key, healthEvent(item, nowMs), nowMs);
    }
    if (tables !== undefined && news.some(({ kind }) => kind === "name")) refreshHealth(tables, nowMs);
  }

  /** Something about an endpoint of this thread's tables is not what it was. */
  changed(change: HealthChange): void {
    const { clock, meters, ejected, log } = this.#ports;
    const { cluster, endpoint } = change;
    if (change.kind === "spared") {
      meters.spared(cluster, change.reason);
      return;
    }
    const { state, own } = change;
    if (state.kind === "draining") closeIdle(endpoint);
    if (state.kind !== "ejected" || !own) return;
    const forMs = state.untilMs - clock.now();
    meters.ejected(cluster, state.reason);
    log("warn", "an endpoint is ejected", { cluster, endpoint: endpoint.key, reason: state.reason, forMs });
    ejected({ kind: "ejected", cluster, key: endpoint.key, reason: state.reason, forMs });
  }
}
