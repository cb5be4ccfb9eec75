/**
 * The case table's gateway on workerd: the real driver and the real reading of requests, over tables compiled from the snapshot that a test posts.
 * Dice, and where a case is about time the clock, are the case's own.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import {
  type Clock,
  compile,
  createExchange,
  MapBank,
  type Ports,
  QuotaFilter,
  type RequestRecord,
  type Tables,
} from "../../../gateway/core/index.ts";
import { armWorkerTimer, workerClock } from "../../../gateway/edge/clock.ts";
import { type DriverPorts, drive } from "../../../gateway/edge/driver.ts";
import { Entrances } from "../../../gateway/edge/entrance.ts";
import type { ArmTimer } from "../../../gateway/edge/isolate.ts";
import { RequestContext } from "../../../gateway/edge/request-context.ts";
import { readRequest } from "../../../gateway/edge/request-head.ts";
import { type UpstreamFetcher, Upstreams } from "../../../gateway/edge/upstream.ts";
import type { PostedCase, Told, ToldAttempt } from "../../conformance/posted.ts";

/** How long a timer of the case's own clock leaves the origins to answer first. */
const TURN_MS = 40;

class Play {
  readonly tables: Tables;
  readonly ports: Ports;
  readonly driverPorts: DriverPorts;
  readonly attempts: ToldAttempt[] = [];
  record: RequestRecord | null = null;
  tookMs = 0;
  #nowMs = 1_000_000;
  #thrown = 0;

  constructor({ snapshot, dice, ownClock, failures }: PostedCase, env: object) {
    const compiled = compile(snapshot, "1.7", undefined);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    this.tables = compiled.value;
    const own: Clock = { now: () => this.#nowMs, unixMs: () => Date.UTC(2026, 0, 1) };
    const clock = ownClock ? own : workerClock;
    const arm: ArmTimer = ownClock ? (ms, run) => this.#arm(ms, run) : armWorkerTimer;
    const bank = () => new MapBank({ maxCounters: 1024, unixMs: clock.unixMs });
    this.ports = {
      clock,
      random: () => dice[Math.min(this.#thrown++, dice.length - 1)] ?? 0.5,
      quotas: new QuotaFilter({ bank: bank(), fallback: bank(), nowUs: () => Math.floor(clock.now() * 1000) }),
      reporter: {
        request: (record) => {
          this.record = record;
          this.tookMs = clock.now() - record.startedMs;
        },
      },
    };
    const upstreams = new Upstreams(env, { allowAddresses: false, ownHost: false });
    this.driverPorts = {
      clock,
      arm,
      keepsLines: true,
      call: (send) => {
        const { endpoint } = send.target;
        const call = upstreams.call(send.target, send.head);
        // A mirror's copy has no part in the script.
        if (call.kind === "refused" || !("kind" in send)) return call;
        const failure = failures[Math.min(this.attempts.length, failures.length - 1)] ?? null;
        this.attempts.push({ to: `${endpoint.address}:${endpoint.port}`, isSent: failure === null });
        if (failure === null) return call;
        const fetcher: UpstreamFetcher = { fetch: () => Promise.reject(new Error(failure)) };
        return { ...call, fetcher };
      },
      failed: (error) => {
        throw error;
      },
    };
  }

  #arm(ms: number, run: () => void): () => void {
    const atMs = this.#nowMs + ms;
    const timer = setTimeout(() => {
      this.#nowMs = Math.max(this.#nowMs, atMs);
      run();
    }, TURN_MS);
    return () => clearTimeout(timer);
  }

  get active(): number {
    let active = 0;
    for (const { state, endpoints } of this.tables.clusters.values()) {
      active += state.active + state.retrying;
      for (const endpoint of endpoints) active += endpoint.active;
    }
    return active;
  }
}

let play: Play | undefined;

/** The test's own door to the same isolate. */
export class Control extends WorkerEntrypoint<object> {
  override async fetch(request: Request): Promise<Response> {
    if (request.method === "POST") {
      play = new Play((await request.json()) as PostedCase, this.env);
      return new Response("installed");
    }
    if (play === undefined) return new Response("no case", { status: 404 });
    const { record, tookMs, attempts, active } = play;
    return Response.json({ record, tookMs, attempts, active } satisfies Told);
  }
}

export default {
  async fetch(request: Request, _env: object, context: ExecutionContext): Promise<Response> {
    if (play === undefined) return new Response("no case", { status: 500 });
    const { tables, ports, driverPorts } = play;
    const read = readRequest(request, "cf-connecting-ip");
    if (read === undefined) return new Response("bad request\n", { status: 400 });
    const entrance = new Entrances().find(tables.listeners, read.head);
    if (entrance === undefined) return new Response("no listener", { status: 421 });
    const exchange = createExchange(tables, entrance.listener, entrance.server, read, read.peer, ports);
    return await drive(exchange, request, read, tables.settings, driverPorts, new RequestContext(context));
  },
};
