/**
 * The egress gateway of one isolate: core's decision for each request, with what Workers have for ports.
 *
 * A Worker sees requests and no addresses: that names lead to public ones only is the runtime's to enforce (`global_fetch_strictly_public` on
 * Cloudflare, `Network(allow = ["public"])` on workerd), and addresses that are hosts themselves are core's.
 */
import {
  type Clock,
  ClosableBank,
  compileEgress,
  DEFAULT_EGRESS_LIMITS,
  DEFAULT_MAX_COUNTERS,
  decisionLine,
  EgressExchange,
  type EgressPorts,
  type EgressSnapshot,
  type EgressTables,
  EndpointTable,
  MapBank,
  NO_BODY,
  NO_EGRESS,
  type ProxyRequest,
  QuotaFilter,
  type RequestHead,
  respondError,
  STREAM_BODY,
} from "../core/index.ts";
import { type Carrier, carryOut, fieldsOf } from "./egress-driver.ts";
import { BoundSecrets, BoundTokens } from "./egress-secrets.ts";
import type { UrlParts } from "./egress-target.ts";
import type { InForce } from "./isolate.ts";

/** How a request came, and what that proves. */
export interface WayIn {
  /** `binding`: by a service binding or as an outbound service. `proxy`: over HTTPS. */
  readonly kind: "binding" | "proxy";
  /** What the binding says who calls. */
  readonly service: string | undefined;
}

export interface EgressWorkerOptions {
  readonly env: object;
  readonly clock: Clock;
  readonly carrier: Carrier;
  /** Takes one line of the decision log. */
  readonly log: (line: string) => void;
}

/** The field in which a caller over HTTPS names itself: `Basic`, as RFC 7617 writes it. Clients and platforms take Proxy-Authorization for their own. */
export const PROXY_CREDENTIALS = "x-tidegate-proxy-authorization";

/** Of the platform or of a proxy in front of it, about a caller that the host need not know. */
const ABOUT_THE_CALLER = /^(?:cf-|x-forwarded-|x-real-ip$|forwarded$|true-client-ip$)/;

export class EgressWorker {
  readonly #options: EgressWorkerOptions;
  readonly #ports: EgressPorts;
  readonly #bank: ClosableBank;
  readonly #endpoints = new EndpointTable();

  constructor(options: EgressWorkerOptions) {
    const { env, clock } = options;
    const unixMs = (): number => clock.unixMs();
    this.#options = options;
    this.#bank = new ClosableBank(new MapBank({ maxCounters: DEFAULT_MAX_COUNTERS, unixMs }));
    const fallback = new MapBank({ maxCounters: DEFAULT_MAX_COUNTERS, unixMs });
    this.#ports = {
      clock,
      resolver: undefined,
      credentials: new BoundTokens(env),
      decisions: { decided: (record) => options.log(decisionLine(record)) },
      tunnels: undefined,
      secrets: new BoundSecrets(env),
      quotas: new QuotaFilter({ bank: this.#bank, fallback, nowUs: () => Math.floor(clock.now() * 1000) }),
      // One line per request is enough: its decision.
      reporter: { request: () => undefined },
      limits: DEFAULT_EGRESS_LIMITS,
    };
  }

  /** @param inForce undefined: the site has no snapshot */
  async serve(request: Request, asked: UrlParts, way: WayIn, inForce: InForce | undefined): Promise<Response> {
    this.#bank.closed = inForce?.closed.quota !== undefined;
    const fields = fieldsOf(request.headers);
    const head: RequestHead = {
      method: request.method,
      ...asked,
      fields: way.kind === "proxy" ? proxyFields(fields) : fields,
      body: request.body === null ? NO_BODY : bodyOf(request),
    };
    const proxied: ProxyRequest = {
      head,
      form: "absolute",
      confidential: true,
      connectionOptions: request.headers
        .get("connection")
        ?.toLowerCase()
        .split(/\s*,\s*/),
      protocol: "fetch",
      listener: way.kind,
      // Whatever field would tell an address could be the caller's own.
      peer: { address: "", port: 0 },
      service: way.service,
    };
    const exchange = new EgressExchange(snapshotOf(inForce), this.#ports, this.#endpoints, proxied);
    return carryOut(exchange, request, this.#options.carrier);
  }
}

/** An answer of the Worker itself, where there is nothing that core could decide about. */
export function refused(code: Parameters<typeof respondError>[0], reason: string): Response {
  const { head, body } = respondError(code, [], reason);
  const headers = new Headers({ "x-tidegate-reason": reason, "content-type": "text/plain" });
  return new Response(typeof body === "string" ? body : new Uint8Array(body), { status: head.status, headers });
}

function bodyOf(request: Request): RequestHead["body"] {
  const length = request.headers.get("content-length");
  return length === null ? STREAM_BODY : { kind: "length", bytes: Number(length) };
}

/** Puts the caller's credential where core looks for it, and takes out what came of its way here. */
function proxyFields(fields: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (name === "proxy-authorization" || ABOUT_THE_CALLER.test(name)) continue;
    kept.push(name === PROXY_CREDENTIALS ? "proxy-authorization" : name, fields[i + 1] ?? "");
  }
  return kept;
}

function snapshotOf(inForce: InForce | undefined): EgressSnapshot {
  if (inForce === undefined) return NO_SNAPSHOT;
  const { version, tables, egress, closed } = inForce;
  return { version, tables: egress, closed: closed.egress, explainHeaders: tables.settings.explainHeaders };
}

function nothing(): EgressTables {
  const compiled = compileEgress(NO_EGRESS);
  if (!compiled.ok) throw new Error("an empty section does not compile");
  return compiled.value;
}

const NO_SNAPSHOT: EgressSnapshot = {
  version: "-",
  tables: nothing(),
  closed: "this site has no snapshot yet",
  explainHeaders: false,
};
