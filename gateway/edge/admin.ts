/**
 * The few routes that are the site's own: under `/.tidegate/`, at the site's own host only. What comes here never meets the routes of a snapshot, and what
 * does not come here never meets these.
 */
import { Hono } from "hono/tiny";
import type { CompiledQuota } from "../core/index.ts";
import { answerBankRequest, BANK_PATH } from "./bank-entry.ts";
import type { IngressSettings } from "./env.ts";
import type { IsolateStatus } from "./isolate.ts";
import type { EdgeStats } from "./report.ts";
import type { Secret } from "./secret.ts";
import { acceptTunnel, TUNNEL_PATH } from "./tunnel.ts";

export const ADMIN_PREFIX = "/.tidegate/";

export interface AdminPorts {
  /** How the isolate stands after it has seen to it that it is fresh. */
  readonly status: () => Promise<IsolateStatus>;
  /** Of the snapshot in force, by id. */
  readonly quotas: () => Promise<ReadonlyMap<string, CompiledQuota>>;
  /** `presumedGone`: requests whose clients may have left without a word while they waited, so far. */
  readonly stats: () => EdgeStats & { readonly presumedGone: number };
}

/** One request's answer. Made per isolate; what a request brings is handed to `fetch`. */
export function adminRoutes(settings: IngressSettings): Hono<AdminEnv> {
  const app = new Hono<AdminEnv>();
  app.get(`${ADMIN_PREFIX}ready`, async (c) => {
    const { version, askedMsAgo, age } = await c.env.ports.status();
    return c.json(
      { ready: version !== undefined, version: version ?? null, askedMsAgo: askedMsAgo ?? null, sections: age?.sections ?? null },
      version === undefined ? 503 : 200,
    );
  });
  app.get(`${ADMIN_PREFIX}stats`, async (c) => {
    const refusal = await refuseBearer(c.req.raw, settings.relayToken);
    if (refusal !== undefined) return refusal;
    const { refused } = await c.env.ports.status();
    return c.json({ ...c.env.ports.stats(), refused: refused ?? null });
  });
  relayRoute(app, settings);
  bankRoute(app, settings);
  tunnelRoute(app, settings);
  app.notFound((c) => c.text("not found\n", 404));
  return app;
}

interface AdminEnv {
  Bindings: { readonly ports: AdminPorts };
}

/** The control plane brings snapshots here: a WebSocket, or plain requests below it. */
function relayRoute(app: Hono<AdminEnv>, { relay, relayToken, site }: IngressSettings): void {
  app.all(`${ADMIN_PREFIX}relay/*`, async (c) => {
    const refusal = await refuseBearer(c.req.raw, relayToken);
    return refusal ?? (await relay.get(relay.idFromName(site)).fetch(c.req.raw));
  });
}

/** Node gateways and other sites draw leases here, of limits that this site's own snapshot has. */
function bankRoute(app: Hono<AdminEnv>, { bankToken, bank }: IngressSettings): void {
  app.all(BANK_PATH, async (c) => {
    const refusal = await refuseBearer(c.req.raw, bankToken);
    if (refusal !== undefined) return refusal;
    if (bank === undefined) return notHere();
    return await answerBankRequest(c.req.raw, await c.env.ports.quotas(), bank);
  });
}

/** Node gateways of a cluster keep WebSockets open here. */
function tunnelRoute(app: Hono<AdminEnv>, { tunnelToken, tunnels }: IngressSettings): void {
  app.get(TUNNEL_PATH, (c) => (tunnels === undefined ? notHere() : acceptTunnel(c.req.raw, tunnels, tunnelToken)));
}

/** RFC 6750 2.1. Without a token nobody may: what is not set up is not open. */
async function refuseBearer(request: Request, token: Secret | undefined): Promise<Response | undefined> {
  const given = /^Bearer +([\x21-\x7e]+) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (token !== undefined && given !== undefined && (await token.matches(given))) return undefined;
  return new Response("credentials are missing or wrong\n", { status: 401, headers: { "www-authenticate": "Bearer" } });
}

function notHere(): Response {
  return new Response("this site has no such service\n", { status: 404 });
}
