/** An egress gateway of one thread with nothing but a forward-proxy listener, for tests over loopback that own its names. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { compileEgress, QuotaFilter } from "../../gateway/core/index.ts";
import {
  DEFAULT_SETTINGS,
  type EgressConfig,
  type EgressPolicy,
  type EgressRule,
  type HttpSettings,
} from "../../gateway/core/ir/index.ts";
import { MapBank } from "../../gateway/core/quota/index.ts";
import { armSystemTimer, systemClock } from "../../gateway/node/clock.ts";
import { Deadlines } from "../../gateway/node/deadlines.ts";
import { EgressGateway } from "../../gateway/node/egress.ts";
import type { ConnectionFactory } from "../../gateway/node/exchange.ts";
import { Listener } from "../../gateway/node/listener.ts";
import { DEFAULT_OVERLOAD_LIMITS, Overload } from "../../gateway/node/overload.ts";
import { PemFiles } from "../../gateway/node/pem-files.ts";
import { createHttpThread } from "../../gateway/node/thread.ts";
import { vitals } from "../../gateway/node/vitals.ts";

export const HOME = "127.0.0.1";
export const API = "api.example.com";
export const OPEN_HOME = "127.0.0.0/8";

/** A rule for one origin on loopback, which no rule reaches without saying so. */
export function egressRuleAt(port: number, over: Partial<EgressRule>): EgressRule {
  const addresses = [{ cidr: OPEN_HOME, ports: [port] }];
  return { name: "rule", hosts: [API], ports: [port], protocol: "http", methods: [], paths: [], quotas: [], addresses, ...over };
}

export function egressOf(allow: readonly EgressRule[], over: Partial<EgressPolicy> = {}): EgressConfig {
  const origin = { kind: "EgressPolicy", namespace: "shop", name: "p" };
  const from = [{ kind: "ipBlock", cidr: OPEN_HOME }] as const;
  const policy: EgressPolicy = {
    id: "shop/p",
    origin,
    namespace: "shop",
    floor: false,
    from,
    mode: "enforce",
    allow,
    deny: [],
    ...over,
  };
  return { policies: [policy], staticHosts: [], users: [], realm: "outside" };
}

export async function listeningAt(server: Server): Promise<number> {
  server.listen(0, HOME);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

export interface TestEgressOptions {
  readonly maxTunnels?: number;
  readonly http?: Partial<HttpSettings>;
}

/** A gateway thread with nothing but a forward-proxy listener. */
export class TestEgress {
  readonly decisions: Record<string, unknown>[] = [];
  readonly queries: string[] = [];
  secrets = "/nonexistent";
  readonly problems: unknown[] = [];
  /** Absolute names to answers: each query takes the next, the last one stays. */
  readonly zone = new Map<string, (readonly string[])[]>([[`${API}.`, [[HOME]]]]);
  readonly deadlines = new Deadlines(systemClock, armSystemTimer);
  listener: Listener | undefined;
  port = 0;

  async open(egress: EgressConfig, { maxTunnels = 100, http = {} }: TestEgressOptions = {}): Promise<void> {
    const probe = createServer();
    this.port = await listeningAt(probe);
    probe.close();
    const compiled = compileEgress(egress);
    if (!compiled.ok) throw new TypeError(JSON.stringify(compiled.error));
    const snapshot = { version: "1.1", tables: compiled.value, explainHeaders: true, closed: undefined };
    const bank = new MapBank({ maxCounters: 16, unixMs: () => 0 });
    const factory = new EgressGateway({
      clock: systemClock,
      quotas: new QuotaFilter({ bank, fallback: bank, nowUs: () => 0 }),
      reporter: { request: () => undefined },
      secrets: this.secrets,
      writeDecision: (line) => this.decisions.push(JSON.parse(line)),
      current: () => snapshot,
      lookup: async (name) => this.#answer(name),
      hostsFile: "/dev/null",
      maxTunnels,
    });
    const thread = { ...createHttpThread((error) => this.problems.push(error)), deadlines: this.deadlines };
    const source = {
      name: "egress",
      bind: HOME,
      port: this.port,
      servicePort: this.port,
      protocol: "forward-proxy" as const,
      servers: [],
      origins: [],
    };
    const servers = { exact: new Map(), suffix: new Map(), any: undefined };
    const overload = new Overload(DEFAULT_OVERLOAD_LIMITS, 1, { clock: systemClock, vitals, collect: () => undefined });
    const hooks = {
      overload,
      dropped: () => undefined,
      refused: () => undefined,
      refusedConnection: () => undefined,
      handshakeRefused: () => undefined,
      tlsProblemsChanged: () => undefined,
    };
    const opaque: ConnectionFactory = {
      open: () => {
        throw new Error("a forward proxy has no opaque connections");
      },
    };
    const tls = { files: new PemFiles("/nonexistent"), ticketSecret: new Uint8Array(32), unixMs: Date.now };
    this.listener = new Listener({ source, servers }, { ...DEFAULT_SETTINGS.http, ...http }, factory, opaque, thread, hooks, tls);
    const problem = await this.listener.listen();
    if (problem !== undefined) throw new Error(problem);
  }

  close(): void {
    this.listener?.destroy();
    this.deadlines.close();
  }

  #answer(name: string): readonly string[] {
    this.queries.push(name);
    const answers = this.zone.get(name) ?? [];
    return (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
  }
}
