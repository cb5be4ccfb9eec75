/**
 * The ingress gateway of one isolate: from a `Request` to a `Response`. What requests share is here (tables, counters, reporters); what belongs to one
 * request (its relay, its timers, its streams) is handed through.
 */
import {
  createExchange,
  type ErrorCode,
  type Ports,
  type QuotaFilter,
  type ReadonlyFieldList,
  respondError,
  type Tables,
} from "../core/index.ts";
import { ADMIN_PREFIX, adminRoutes } from "./admin.ts";
import { armWorkerTimer, workerClock } from "./clock.ts";
import { Clusters } from "./cluster.ts";
import { type DriverPorts, drive } from "./driver.ts";
import { Entrances } from "./entrance.ts";
import type { IngressSettings } from "./env.ts";
import { type InForce, Isolate } from "./isolate.ts";
import { workerLog } from "./log.ts";
import { IsolateQuotas } from "./quotas.ts";
import { type RelayRpc, relayOf } from "./relay-rpc.ts";
import { EdgeReporter } from "./report.ts";
import { RequestContext, type WaitingContext } from "./request-context.ts";
import { type EdgeRequest, readRequest } from "./request-head.ts";
import { responseOf } from "./response.ts";
import { UnwatchedRequests } from "./unwatched.ts";
import { Upstreams } from "./upstream.ts";

export class IngressGateway {
  readonly #settings: IngressSettings;
  readonly #isolate: Isolate;
  readonly #reporter = new EdgeReporter(workerClock, (line) => console.log(line));
  readonly #quotas: IsolateQuotas;
  readonly #driverPorts: DriverPorts;
  /** Of requests with the shared filter, whose exchanges hold nothing of theirs. */
  readonly #shared: { readonly ports: Ports; readonly driver: DriverPorts };
  readonly #unwatched = new UnwatchedRequests();
  readonly #entrances = new Entrances();
  readonly #relay: RelayRpc;
  readonly #admin: ReturnType<typeof adminRoutes>;
  /** What the request before was held against. */
  #tables: Tables | undefined;

  constructor(settings: IngressSettings, env: object) {
    this.#settings = settings;
    this.#relay = relayOf(settings.relay, settings.site);
    this.#isolate = new Isolate({
      ...settings,
      compile: { quotaMeter: (id) => this.#reporter.quotaMeter(id) },
      clock: workerClock,
      random: Math.random,
      arm: armWorkerTimer,
      log: workerLog,
    });
    this.#quotas = new IsolateQuotas({ namespace: settings.bank, token: settings.bankToken });
    const upstreams = new Upstreams(env, {
      allowAddresses: settings.allowIpUpstreams,
      // On Cloudflare there is no other way.
      ownHost: settings.clientAddress === "cf-connecting-ip",
    });
    const { site, passportKey, tunnels } = settings;
    const newId = () => crypto.randomUUID();
    const clusters = new Clusters({ site, passportKey, tunnels, upstreams, unixMs: workerClock.unixMs, newId });
    this.#driverPorts = {
      clock: workerClock,
      arm: armWorkerTimer,
      keepsLines: true,
      call: (send, established) => {
        const { target, head } = send;
        return target.via === undefined ? upstreams.call(target, head) : clusters.call(send, target.via, established);
      },
      failed: (error, { method, fields }) => {
        workerLog("error", "a request failed by a bug", { error: error instanceof Error ? error.stack : String(error) });
        return responseOf(respondError("internal", fields), method).response;
      },
    };
    const driver = { ...this.#driverPorts, unwatched: this.#unwatched };
    this.#shared = { ports: this.#portsWith(this.#quotas.shared), driver };
    this.#admin = adminRoutes(settings);
  }

  fetch(request: Request, waiting: WaitingContext): Response | Promise<Response> {
    const read = readRequest(request, this.#settings.clientAddress);
    if (read === undefined) return refusal("bad_request", request, []);
    const { authority, target } = read.head;
    const context = new RequestContext(waiting);
    if (authority === this.#settings.siteHost && target.startsWith(ADMIN_PREFIX)) return this.#administer(request, context);
    const inForce = this.#inForce(context);
    return inForce instanceof Promise
      ? inForce.then((known) => this.#serve(request, read, known, context))
      : this.#serve(request, read, inForce, context);
  }

  #inForce(context: RequestContext): InForce | undefined | Promise<InForce | undefined> {
    return this.#isolate.inForce(this.#relay, context);
  }

  #serve(
    request: Request,
    read: EdgeRequest,
    inForce: InForce | undefined,
    context: RequestContext,
  ): Response | Promise<Response> {
    const { fields, body } = read.head;
    if (inForce === undefined) return refusal("no_snapshot", request, fields);
    const { tables } = inForce;
    const entrance = this.#entrances.find(tables.listeners, read.head);
    if (entrance === undefined) return refusal("misdirected_request", request, fields);
    const { maxRequestBodyBytes } = tables.settings.http;
    if (body.kind === "length" && maxRequestBodyBytes > 0 && body.bytes > maxRequestBodyBytes) {
      return refusal("body_too_large", request, fields);
    }
    this.#reporter.configure(tables.settings);
    if (tables !== this.#tables) {
      this.#tables = tables;
      this.#unwatched.presumeAll();
    }
    const quotas = this.#quotas.filter(inForce, context);
    const isShared = quotas === this.#quotas.shared;
    const ports = isShared ? this.#shared.ports : this.#portsWith(quotas);
    const { listener, server } = entrance;
    const exchange = createExchange(tables, listener, server, read, read.peer, ports);
    return drive(exchange, request, read, tables.settings, isShared ? this.#shared.driver : this.#driverPorts, context);
  }

  #portsWith(quotas: QuotaFilter): Ports {
    return { clock: workerClock, random: Math.random, quotas, reporter: this.#reporter };
  }

  async #administer(request: Request, context: RequestContext): Promise<Response> {
    const status = async () => {
      await this.#inForce(context);
      return this.#isolate.status();
    };
    const quotas = async () => (await this.#inForce(context))?.tables.quotas ?? new Map();
    return await this.#admin.fetch(request, {
      ports: { status, quotas, stats: () => ({ ...this.#reporter.stats(), presumedGone: this.#unwatched.presumedGone }) },
    });
  }
}

function refusal(code: ErrorCode, request: Request, fields: ReadonlyFieldList): Response {
  return responseOf(respondError(code, fields), request.method).response;
}
