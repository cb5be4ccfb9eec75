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
import { splitProxyUrl, splitUrl, type UrlParts } from "./egress-target.ts";
import { EgressWorker, refused, type WayIn } from "./egress-worker.ts";
import { readSite, type SiteSettings } from "./env.ts";
import { Isolate } from "./isolate.ts";
import { workerLog } from "./log.ts";
import { relayOf } from "./relay-rpc.ts";

/** What a binding says of the Worker that has it. */
interface CallerProps {
  readonly service?: unknown;
}

/** Plain data and tables only: requests share them. */
interface Site {
  readonly settings: SiteSettings;
  readonly isolate: Isolate;
  readonly worker: EgressWorker;
}

let known: Site | readonly Issue[] | undefined;

export class Egress extends WorkerEntrypoint<object, CallerProps> {
  override async fetch(request: Request): Promise<Response> {
    const { service } = this.ctx.props ?? {};
    const asked = splitUrl(request.url);
    if (asked === undefined) return refused("bad_request", "the URL has to be http://host/path or https://host/path");
    const caller = typeof service === "string" && service !== "" ? service : undefined;
    return serve(request, asked, { kind: "binding", service: caller }, this.env, this.ctx);
  }
}

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const site = siteOf(env);
    if (!("settings" in site)) return notConfigured(site);
    const asked = splitProxyUrl(request.url, site.settings.siteHost);
    if (asked === "not_asked") {
      return refused(
        "no_route",
        "this is an egress gateway: bind its entry Egress, or ask for /.tidegate/proxy/https/<host>/<path>",
      );
    }
    if (asked === "readable")
      return refused("denied", "the proxy is asked over https only: this request was readable on its way");
    return serve(request, asked, { kind: "proxy", service: undefined }, env, ctx);
  },
} satisfies ExportedHandler<object>;

async function serve(
  request: Request,
  asked: UrlParts,
  way: WayIn,
  env: object,
  ctx: Pick<ExecutionContext, "waitUntil">,
): Promise<Response> {
  const site = siteOf(env);
  if (!("settings" in site)) return notConfigured(site);
  const { settings, isolate, worker } = site;
  const relay = relayOf(settings.relay, settings.site);
  try {
    const inForce = await isolate.inForce(relay, (work) => ctx.waitUntil(work));
    return await worker.serve(request, asked, way, inForce);
  } catch (error) {
    workerLog("error", "a request failed by a bug", { error: error instanceof Error ? error.stack : String(error) });
    return refused("internal", "the gateway failed; its log says how");
  }
}

function siteOf(env: object): Site | readonly Issue[] {
  known ??= openSite(env);
  return known;
}

function openSite(env: object): Site | readonly Issue[] {
  const read = readSite(env);
  if (!read.ok) return read.error;
  const settings = read.value;
  const { site, audience, trustRoot, floor } = settings;
  const shared = { clock: workerClock, arm: armWorkerTimer, log: workerLog, random: Math.random };
  return {
    settings,
    isolate: new Isolate({ ...shared, site, audience, trustRoot, floor, compile: {} }),
    worker: new EgressWorker({
      env,
      clock: workerClock,
      carrier: { now: workerClock.now, arm: armWorkerTimer, fetch: (request) => fetch(request), unreached },
      log: (line) => console.log(line),
    }),
  };
}

function unreached(url: string, reason: string): void {
  workerLog("warn", "a host was not reached", { url, reason });
}

/** Which bindings is for the operator's eyes: the log. */
function notConfigured(issues: readonly Issue[]): Response {
  workerLog("error", "the egress Worker is not configured", { issues });
  return refused("internal", "this Worker is not configured; its log says what is missing");
}
