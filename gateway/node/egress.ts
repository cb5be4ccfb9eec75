/**
 * The egress gateway of one thread: its ports put together, and an exchange for each forward-proxy request. Decisions are core's; here are the
 * sockets' side of names, passwords, tunnels and the log.
 */
import { lookup as getAddresses } from "node:dns/promises";
import {
  type Clock,
  DEFAULT_EGRESS_LIMITS,
  decisionLine,
  EgressExchange,
  type EgressPorts,
  type EgressSnapshot,
  EndpointTable,
  type Exchange,
  type HelloReader,
  type PeerInfo,
  type QuotaFilter,
  type Reporter,
  type TunnelGate,
} from "../core/index.ts";
import { ClientHelloReader } from "../wire/index.ts";
import { ScryptChecker } from "./egress-auth.ts";
import { DnsResolver, HostsFile, type Lookup } from "./egress-resolve.ts";
import { SecretFiles } from "./egress-secrets.ts";
import type { ClientRequest, ConnectionInfo, ExchangeFactory } from "./exchange.ts";

export interface EgressOptions {
  readonly clock: Clock;
  readonly quotas: QuotaFilter;
  readonly reporter: Reporter;
  /** Folder of the credentials that rules add to requests. */
  readonly secrets: string;
  /** Takes one line of the decision log, with its end. */
  readonly writeDecision: (line: string) => void;
  /** The egress section in force; asked once per request. */
  readonly current: () => EgressSnapshot;
  /** Default: getaddrinfo. */
  readonly lookup?: Lookup;
  /** Default: `/etc/hosts`. */
  readonly hostsFile?: string;
  /** Tunnels open at once in this thread. Default 4,096. */
  readonly maxTunnels?: number;
  /** Tunnels open at once for one client address. Default 512. */
  readonly maxTunnelsPerClient?: number;
}

/** Plugs into a forward-proxy listener. One per thread, for as long as the thread lives: what it remembers outlives snapshots. */
export class EgressGateway implements ExchangeFactory {
  readonly #ports: EgressPorts;
  readonly #current: () => EgressSnapshot;
  readonly #endpoints = new EndpointTable();

  constructor(options: EgressOptions) {
    const { clock, quotas, reporter } = options;
    this.#current = options.current;
    this.#ports = {
      clock,
      quotas,
      reporter,
      resolver: new DnsResolver({
        lookup: options.lookup ?? allAddresses,
        hosts: new HostsFile(options.hostsFile ?? "/etc/hosts"),
      }),
      credentials: new ScryptChecker({ clock }),
      decisions: { decided: (record) => options.writeDecision(`${decisionLine(record)}\n`) },
      tunnels: { gate: new TunnelCaps(options.maxTunnels ?? 4_096, options.maxTunnelsPerClient ?? 512), openHello },
      secrets: new SecretFiles(options.secrets),
      limits: DEFAULT_EGRESS_LIMITS,
    };
  }

  open(request: ClientRequest, connection: ConnectionInfo): Exchange {
    const { head, form, connectionOptions, version } = request;
    const { listener, peer } = connection;
    return new EgressExchange(this.#current(), this.#ports, this.#endpoints, {
      head,
      // RFC 9113 8.3.1: `:scheme` and `:authority` say what the absolute form says.
      form: version === "2" && form === "origin" ? "absolute" : form,
      // What comes to a forward-proxy listener comes in the clear.
      confidential: false,
      connectionOptions,
      protocol: `HTTP/${version}`,
      listener,
      peer,
    });
  }
}

/** Counts open tunnels, all of them and by client address. */
export class TunnelCaps implements TunnelGate {
  readonly #max: number;
  readonly #maxPerClient: number;
  readonly #byClient = new Map<string, number>();
  #open = 0;

  constructor(max: number, maxPerClient: number) {
    this.#max = max;
    this.#maxPerClient = maxPerClient;
  }

  get open(): number {
    return this.#open;
  }

  acquire(peer: PeerInfo): boolean {
    const mine = this.#byClient.get(peer.address) ?? 0;
    if (this.#open >= this.#max || mine >= this.#maxPerClient) return false;
    this.#open += 1;
    this.#byClient.set(peer.address, mine + 1);
    return true;
  }

  release(peer: PeerInfo): void {
    const mine = this.#byClient.get(peer.address) ?? 0;
    this.#open -= 1;
    if (mine > 1) this.#byClient.set(peer.address, mine - 1);
    else this.#byClient.delete(peer.address);
  }
}

/** Both families, in the order the system's resolver prefers. */
async function allAddresses(name: string): Promise<readonly string[]> {
  const answers = await getAddresses(name, { all: true, order: "verbatim" });
  return answers.map((answer) => answer.address);
}

function openHello(): HelloReader {
  const reader = new ClientHelloReader();
  return {
    feed(bytes) {
      const event = reader.feed(bytes);
      switch (event.kind) {
        case "need":
          return event;
        case "hello":
          return { kind: "hello", serverName: event.hello.serverName };
        case "error":
          return { kind: "bad", reason: event.message };
      }
    },
  };
}
