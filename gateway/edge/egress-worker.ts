/**
 * The egress gateway of one isolate: core's decision for each request, with what Workers have for ports.
 *
 * A Worker sees requests and no addresses: that names lead to public ones only is the runtime's to enforce (`global_fetch_strictly_public` on
 * Cloudflare, `Network(allow = ["public"])` on workerd), and addresses that are hosts themselves are core's.
 */
import {
  type Clock,
  compileEgress,
  DEFAULT_EGRESS_LIMITS,
  decisionLine,
  EgressExchange,
  type EgressPorts,
  type EgressSnapshot,
  type EgressTables,
  EndpointTable,
  type ErrorCode,
  field,
  NO_EGRESS,
  type ProxyRequest,
  type RequestHead,
  respondError,
  type Upgrade,
} from "../core/index.ts";
import { DEFAULT_SETTINGS } from "../core/ir/index.ts";
import { type DriverPorts, drive } from "./driver.ts";
import { BoundSecrets, BoundTokens } from "./egress-secrets.ts";
import { type UrlParts, urlOf } from "./egress-target.ts";
import type { ArmTimer, EdgeLog, InForce } from "./isolate.ts";
import type { IsolateQuotas } from "./quotas.ts";
import type { RequestContext } from "./request-context.ts";
import type { EdgeRequest } from "./request-head.ts";
import { responseOf } from "./response.ts";
import type { UpstreamCall, UpstreamFetcher } from "./upstream.ts";

/** How a request came, and what that proves. */
export interface WayIn {
  /** `binding`: by a service binding or as an outbound service. `proxy`: over HTTPS. */
  readonly kind: "binding" | "proxy";
  /** What the binding says who calls. */
  readonly service: string | undefined;
}

export interface EgressWorkerOptions {
  readonly env: object;
  readonly quotas: IsolateQuotas;
  readonly clock: Clock;
  readonly arm: ArmTimer;
  /** Where all requests go on. */
  readonly internet: UpstreamFetcher;
  /** Takes one line of the decision log. */
  readonly writeDecision: (line: string) => void;
  readonly log: EdgeLog;
}

/** The field in which a caller over HTTPS names itself: `Basic`, as RFC 7617 writes it. Clients and platforms take Proxy-Authorization for their own. */
export const PROXY_CREDENTIALS = "x-tidegate-proxy-authorization";

/** Of the platform or of a proxy in front of it, about a caller that the host need not know. */
const ABOUT_THE_CALLER = /^(?:cf-|x-forwarded-|x-real-ip$|forwarded$|true-client-ip$)/;

export class EgressWorker {
  readonly #ports: Omit<EgressPorts, "quotas">;
  readonly #quotas: IsolateQuotas;
  readonly #driver: DriverPorts;
  readonly #endpoints = new EndpointTable();

  constructor(options: EgressWorkerOptions) {
    const { env, clock, arm } = options;
    this.#quotas = options.quotas;
    this.#ports = {
      clock,
      resolver: undefined,
      credentials: new BoundTokens(env),
      decisions: { decided: (record) => options.writeDecision(decisionLine(record)) },
      tunnels: undefined,
      secrets: new BoundSecrets(env),
      // One line per request is enough: its decision.
      reporter: { counted: () => true, request: () => undefined },
      limits: DEFAULT_EGRESS_LIMITS,
    };
    const internet = told(options.internet, options.log);
    const failed = (error: unknown): never => {
      throw error;
    };
    this.#driver = { clock, arm, keepsLines: false, call: ({ head }) => callFor(head, internet), failed };
  }

  /** @param inForce undefined: the site has no snapshot */
  serve(came: CameRequest, asked: UrlParts, inForce: InForce | undefined, context: RequestContext): Promise<Response> {
    const { request, read, way } = came;
    const { method, fields, body } = read.head;
    const head: RequestHead = { ...asked, method, fields: way.kind === "proxy" ? proxyFields(fields) : fields, body };
    const proxied: ProxyRequest = {
      head,
      form: "absolute",
      confidential: true,
      connectionOptions: read.connectionOptions,
      switchTo: read.switchTo ?? boundUpgrade(came),
      protocol: "fetch",
      listener: way.kind,
      // Whatever field would tell an address could be the caller's own.
      peer: { address: "", port: 0 },
      service: way.service,
    };
    const ports = { ...this.#ports, quotas: this.#quotas.filter(inForce, context) };
    const exchange = new EgressExchange(snapshotOf(inForce), ports, this.#endpoints, proxied);
    const settings = inForce?.tables.settings ?? DEFAULT_SETTINGS;
    return drive(exchange, request, { ...read, head }, settings, this.#driver, context);
  }
}

/** A request as the runtime has it, in core's words, and how it came. */
export interface CameRequest {
  readonly request: Request;
  readonly read: EdgeRequest;
  readonly way: WayIn;
}

/** By a binding no connection is there for a Connection field to speak of. */
function boundUpgrade({ read: { head }, way }: CameRequest): Upgrade | undefined {
  const wanted = way.kind === "binding" && head.method === "GET" && field(head.fields, "upgrade")?.toLowerCase() === "websocket";
  return wanted ? "websocket" : undefined;
}

function callFor(head: RequestHead, fetcher: UpstreamFetcher): UpstreamCall {
  const url = urlOf(head);
  return url === undefined
    ? { kind: "refused", reason: "the runtime reads this URL as another one" }
    : { kind: "call", url, fetcher };
}

/**
 * Tells the operator what the runtime says about a host that was not reached, which is more than the caller hears. What a caller would have the
 * platform do (`cf`: another address for the name, for one) is not done.
 */
function told(internet: UpstreamFetcher, log: EdgeLog): UpstreamFetcher {
  return {
    async fetch(input, init) {
      try {
        return await internet.fetch(input, { ...init, cf: {} });
      } catch (error) {
        const { origin } = new URL(typeof input === "string" ? input : input.url);
        log("warn", "a host was not reached", { origin, reason: error instanceof Error ? error.message : String(error) });
        throw error;
      }
    },
  };
}

/** An answer of the Worker itself, where there is nothing that core could decide about. */
export function refused(code: ErrorCode, reason: string, request: Request): Response {
  const step = respondError(code, [], reason);
  step.head.fields.push("x-tidegate-reason", reason);
  return responseOf(step, request.method).response;
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
