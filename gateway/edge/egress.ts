/**
 * The egress Worker: what Workers, and callers over HTTPS, may reach outside.
 *
 * - `Egress`, by a service binding or as `globalOutbound`: `ctx.props.service` of the binding says who calls, and the URL is what is asked for.
 *   A Host field says nothing, as in every `fetch`: a request copied from another one still has that one's.
 * - The default entry, over HTTPS: `https://<SITE_HOST>/.tidegate/proxy/<scheme>/<authority>/<path>`, for proxy users by their tokens.
 *
 * Nothing is let out that the snapshot in force does not allow; without a snapshot nothing at all.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import type { Issue } from "../core/result.ts";
import { armWorkerTimer, workerClock } from "./clock.ts";
import { splitProxyTarget, type UrlParts } from "./egress-target.ts";
import { type CameRequest, EgressWorker, refused } from "./egress-worker.ts";
import { type EgressSettings, readEgress } from "./env.ts";
import { Isolate } from "./isolate.ts";
import { workerLog } from "./log.ts";
import { IsolateQuotas } from "./quotas.ts";
import { relayOf } from "./relay-rpc.ts";
import { RequestContext, type WaitingContext } from "./request-context.ts";
import { readRequest } from "./request-head.ts";

/** What a binding says of the Worker that has it. */
interface CallerProps {
  readonly service?: unknown;
}

/** Plain data and tables only: requests share them. */
interface Site {
  readonly settings: EgressSettings;
  readonly isolate: Isolate;
  readonly worker: EgressWorker;
}

let known: Site | readonly Issue[] | undefined;

export class Egress extends WorkerEntrypoint<object, CallerProps> {
  override async fetch(request: Request): Promise<Response> {
    const { service } = this.ctx.props ?? {};
    const caller = typeof service === "string" && service !== "" ? service : undefined;
    const read = readRequest(request, NO_ADDRESS);
    if (read === undefined) return refused("bad_request", "this is no URL that a host could be asked for", request);
    return serve({ request, read, way: { kind: "binding", service: caller } }, () => read.head, this.env, this.ctx);
  }
}

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const read = readRequest(request, NO_ADDRESS);
    if (read === undefined) return refused("bad_request", "this is no URL that a host could be asked for", request);
    const asked = (siteHost: string): UrlParts | Response => {
      const parts = splitProxyTarget(read.head, siteHost);
      if (typeof parts !== "string") return parts;
      const { code, reason } = NOT_PROXIED[parts];
      return refused(code, reason, request);
    };
    return serve({ request, read, way: { kind: "proxy", service: undefined } }, asked, env, ctx);
  },
} satisfies ExportedHandler<object>;

/** No field is believed that names an address: it proves nothing of who calls. */
const NO_ADDRESS = "x-forwarded-for";

const NOT_PROXIED = {
  not_asked: {
    code: "no_route",
    reason: "this is an egress gateway: bind its entry Egress, or ask for /.tidegate/proxy/https/<host>/<path>",
  },
  readable: { code: "denied", reason: "the proxy is asked over https only: this request was readable on its way" },
  malformed: { code: "bad_request", reason: "the proxy is asked for /.tidegate/proxy/<http or https>/<host>/<path>" },
} as const;

async function serve(
  came: CameRequest,
  askedOn: (siteHost: string) => UrlParts | Response,
  env: object,
  waiting: WaitingContext,
): Promise<Response> {
  const site = siteOf(env);
  if (!("settings" in site)) return notConfigured(site, came.request);
  const { settings, isolate, worker } = site;
  const asked = askedOn(settings.siteHost);
  if (asked instanceof Response) return asked;
  try {
    const context = new RequestContext(waiting);
    const inForce = await isolate.inForce(relayOf(settings.relay, settings.site), context);
    return await worker.serve(came, asked, inForce, context);
  } catch (error) {
    workerLog("error", "a request failed by a bug", { error: error instanceof Error ? error.stack : String(error) });
    return refused("internal", "the gateway failed; its log says how", came.request);
  }
}

function siteOf(env: object): Site | readonly Issue[] {
  known ??= openSite(env);
  return known;
}

function openSite(env: object): Site | readonly Issue[] {
  const read = readEgress(env);
  if (!read.ok) return read.error;
  const settings = read.value;
  const { site, audience, trustRoot, floor } = settings;
  const shared = { clock: workerClock, arm: armWorkerTimer, log: workerLog, random: Math.random };
  return {
    settings,
    isolate: new Isolate({ ...shared, site, audience, trustRoot, floor, compile: {} }),
    worker: new EgressWorker({
      env,
      quotas: new IsolateQuotas({ namespace: settings.bank, token: settings.bankToken }),
      clock: workerClock,
      arm: armWorkerTimer,
      internet: { fetch: (input, init) => fetch(input, init) },
      writeDecision: (line) => console.log(line),
      log: workerLog,
    }),
  };
}

/** Which bindings is for the operator's eyes: the log. */
function notConfigured(issues: readonly Issue[], request: Request): Response {
  workerLog("error", "the egress Worker is not configured", { issues });
  return refused("internal", "this Worker is not configured; its log says what is missing", request);
}
