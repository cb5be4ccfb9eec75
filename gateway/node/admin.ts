/**
 * The operator's side doors, plain HTTP on loopback ports of their own: admin (15000), metrics (15090), readiness (15021).
 *
 * Nothing here shows key material or passwords: a snapshot names secrets, and the password hashes in its egress section are left out.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isIP } from "node:net";
import type { EndpointView } from "../core/index.ts";
import type { Snapshot } from "../core/ir/index.ts";
import type { ControlStatus } from "./control.ts";
import type { Engine } from "./engine.ts";
import type { MetricsRegistry } from "./metrics.ts";

export interface AdminOptions {
  readonly engine: Engine;
  readonly metrics: MetricsRegistry;
  /** Where the control plane connection stands; undefined without one. */
  readonly control: () => ControlStatus | undefined;
  /** Begins to end the process. */
  readonly drain: () => void;
}

export interface Readiness {
  readonly ready: boolean;
  readonly reason: string;
}

/** Whether requests should be sent here, and why not. A stale snapshot still serves; it is told. */
export function readiness(engine: Engine): Readiness {
  const { version, draining, age, threadsServing } = engine.status;
  if (draining) return { ready: false, reason: "draining" };
  if (version === undefined) return { ready: false, reason: "no snapshot yet" };
  if (threadsServing === 0) return { ready: false, reason: "no thread is alive" };
  const stale = Object.entries(age?.sections ?? {}).filter(([, state]) => state.kind !== "fresh");
  if (stale.length === 0) return { ready: true, reason: `serving snapshot ${version}` };
  const told = stale.map(([section, state]) => `${section} is ${state.kind === "expired" ? "expired" : "past its soft age"}`);
  return { ready: true, reason: `serving snapshot ${version}; ${told.join(", ")}` };
}

export function adminServer(options: AdminOptions): Server {
  return serve(async (path, request, response) => {
    switch (path) {
      case "/ready":
        return ready(options.engine, response);
      case "/stats":
      case "/stats/prometheus":
      case "/metrics":
        return await metrics(options, response);
      case "/config_dump":
        return json(response, {
          version: options.engine.status.version ?? null,
          snapshot: withoutHashes(options.engine.snapshot),
        });
      case "/snapshot":
        return json(response, { ...options.engine.status, control: options.control() ?? null });
      case "/clusters":
        return json(response, { clusters: clusterViews(await options.engine.endpoints()) });
      case "/listeners":
        return await listeners(options.engine, response);
      case "/drain":
        return drain(options, request, response);
      default:
        return text(response, 404, "try /ready, /stats, /clusters, /config_dump, /snapshot, /listeners, or POST /drain\n");
    }
  });
}

/** `/metrics` and `/stats/prometheus`. */
export function metricsServer(options: AdminOptions): Server {
  return serve(async (path, _request, response) => {
    if (path === "/metrics" || path === "/stats/prometheus") return await metrics(options, response);
    return text(response, 404, "try /metrics\n");
  });
}

/** `/healthz/ready`. */
export function readinessServer(options: AdminOptions): Server {
  return serve(async (path, _request, response) => {
    if (path === "/healthz/ready") return ready(options.engine, response);
    return text(response, 404, "try /healthz/ready\n");
  });
}

type Handler = (path: string, request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** An `import` of it would read everything that it exports, `WebSocket` too, and Node then loads its fetch and WebSocket clients: 16 MB. */
const http = process.getBuiltinModule("node:http");

function serve(handle: Handler): Server {
  const server = http.createServer({ headersTimeout: 5_000, requestTimeout: 10_000 }, (request, response) => {
    // A name that somebody points at this machine must not lead a browser here.
    if (!isLocalName(request.headers.host ?? "")) {
      text(response, 421, "ask by IP address or as localhost\n");
      return;
    }
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const method = request.method ?? "";
    if (path !== "/drain" && method !== "GET" && method !== "HEAD") {
      text(response, 405, "only GET here\n");
      return;
    }
    handle(path, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else text(response, 500, `${String(error)}\n`);
    });
  });
  server.maxRequestsPerSocket = 1000;
  return server;
}

function isLocalName(host: string): boolean {
  const name = host.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || isIP(name) !== 0;
}

function ready(engine: Engine, response: ServerResponse): void {
  const state = readiness(engine);
  text(response, state.ready ? 200 : 503, `${state.reason}\n`);
}

async function listeners(engine: Engine, response: ServerResponse): Promise<void> {
  const open = await engine.sample();
  const told = open.map(({ name, protocol, connections, sockets }) => ({ name, protocol, connections, sockets }));
  json(response, { listeners: told, problems: engine.status.problems });
}

async function metrics({ engine, metrics: registry }: AdminOptions, response: ServerResponse): Promise<void> {
  await engine.sample();
  const body = registry.exposition() + statusMetrics(engine);
  response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(body);
}

/**
 * Ends the gateway. A page in a browser on this machine can send a POST to a loopback port; it cannot set this field
 * without asking first, and nobody here answers that question.
 */
function drain(options: AdminOptions, request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== "POST") text(response, 405, "POST /drain\n");
  else if (request.headers["x-tidegate-admin"] === undefined) {
    text(response, 403, "POST /drain wants a field `x-tidegate-admin: drain`, which web pages cannot send\n");
  } else {
    text(response, 202, "draining\n");
    options.drain();
  }
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(`${JSON.stringify(value, null, 2)}\n`);
}

function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(body);
}

function clusterViews(views: readonly EndpointView[]): readonly unknown[] {
  const clusters = Map.groupBy(views, ({ cluster }) => cluster);
  return [...clusters].map(([name, endpoints]) => ({
    name,
    endpoints: endpoints.map(({ cluster: _, isWatched: _w, forMs, leftMs, ...view }) => ({
      ...view,
      ...(forMs === undefined ? {} : { forMs: Math.round(forMs) }),
      ...(leftMs === undefined ? {} : { leftMs: Math.round(leftMs) }),
    })),
  }));
}

function withoutHashes(snapshot: Snapshot | undefined): unknown {
  if (snapshot === undefined) return null;
  const { egress } = snapshot;
  if (egress === undefined) return snapshot;
  const users = egress.users.map(({ name }) => ({ name, passwordHash: "[redacted]" }));
  return { ...snapshot, egress: { ...egress, users } };
}

/** What the main thread alone knows. */
function statusMetrics(engine: Engine): string {
  const { version, sinceMs, age, draining, problems, threadsServing, threadRestarts } = engine.status;
  const lines: string[] = [];
  const tell = (kind: "gauge" | "counter", name: string, help: string, value: string): void => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, value);
  };
  const gauge = (name: string, help: string, value: string): void => tell("gauge", name, help, value);
  if (version !== undefined && sinceMs !== undefined) {
    gauge("tidegate_snapshot_info", "The snapshot in force.", `tidegate_snapshot_info{version="${version}"} 1`);
    gauge(
      "tidegate_snapshot_in_force_seconds",
      "How long the snapshot has been in force.",
      `tidegate_snapshot_in_force_seconds ${(Date.now() - sinceMs) / 1000}`,
    );
  }
  if (age !== undefined) {
    const overSoft = Object.entries(age.sections).map(
      ([section, state]) => `tidegate_snapshot_soft_age_exceeded{section="${section}"} ${state.kind === "fresh" ? 0 : 1}`,
    );
    gauge("tidegate_snapshot_soft_age_exceeded", "1 when a section is past its soft age.", overSoft.join("\n"));
  }
  gauge("tidegate_ready", "1 when requests should come here.", `tidegate_ready ${readiness(engine).ready ? 1 : 0}`);
  gauge("tidegate_draining", "1 while the gateway ends.", `tidegate_draining ${draining ? 1 : 0}`);
  gauge(
    "tidegate_install_problems",
    "Parts of the snapshot that could not be put in force.",
    `tidegate_install_problems ${problems.length}`,
  );
  gauge("tidegate_threads_serving", "Threads that serve.", `tidegate_threads_serving ${threadsServing}`);
  tell(
    "counter",
    "tidegate_thread_restarts_total",
    "Threads that have died and were replaced, by what of.",
    Object.entries(threadRestarts)
      .map(([cause, count]) => `tidegate_thread_restarts_total{cause="${cause}"} ${count}`)
      .join("\n"),
  );
  return `${lines.join("\n")}\n`;
}
