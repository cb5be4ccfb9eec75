/** An ingress that knows one cluster: what its driver does for an attempt at a cluster's gateway by a tunnel, and nothing else. */
import { NO_BODY, type RequestHead, STREAM_BODY, type UpstreamTarget } from "../../../gateway/core/index.ts";
import { passportFor, passportKey } from "../../../gateway/edge/passport.ts";
import { acceptTunnel, tunnelFetch } from "../../../gateway/edge/tunnel.ts";
import { TunnelHub } from "../../../gateway/edge/tunnel-do.ts";

interface Env {
  readonly TUNNELS: DurableObjectNamespace<Hub>;
  readonly TUNNEL_TOKEN: string;
  readonly PASSPORT_KEY: string;
  readonly DESTINATION: string;
}

/** As shipped; it can be told to fall over, and tells whether it is the same as before. */
export class Hub extends TunnelHub {
  readonly #life = crypto.randomUUID();

  life(): string {
    return this.#life;
  }

  fallOver(): void {
    this.ctx.abort("told to");
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const target = /^https?:\/\/[^/]*(\/.*)$/.exec(request.url)?.[1] ?? "/";
    if (target.startsWith("/.tidegate/tunnel"))
      return acceptTunnel(request, env.TUNNELS, { matches: async (given) => given === env.TUNNEL_TOKEN });
    if (target === "/life") return new Response(await env.TUNNELS.get(env.TUNNELS.idFromName("main")).life());
    if (target === "/fall-over") {
      await env.TUNNELS.get(env.TUNNELS.idFromName("main"))
        .fallOver()
        .catch(() => undefined);
      return new Response("done");
    }
    return handOn(request, env, target);
  },
} satisfies ExportedHandler<Env>;

async function handOn(request: Request, env: Env, path: string): Promise<Response> {
  const via = { kind: "tunnel", cluster: "main", destination: env.DESTINATION } as const;
  const endpoint = { key: "c|main|443", address: "main", port: 443, weight: 1, active: 0, runtime: undefined };
  const pool = {
    connectTimeoutMs: 1000,
    idleTimeoutMs: 1000,
    maxConnections: 1,
    maxPendingRequests: 1,
    maxRequestsPerConnection: 0,
  };
  const target: UpstreamTarget = { endpoint, pool, tls: undefined, via };
  const head: RequestHead = {
    method: request.method,
    scheme: "https",
    authority: "shop.test",
    target: path,
    fields: [...request.headers].flat(),
    body: request.body === null ? NO_BODY : STREAM_BODY,
  };
  const key = await passportKey(env.PASSPORT_KEY);
  if (!key.ok) return Response.json(key.error, { status: 500 });
  const office = { site: "europe", key: key.value, unixMs: () => Date.now(), newId: () => crypto.randomUUID() };
  const stamped = await passportFor(
    { target, head },
    { clientAddress: "198.51.100.7", charged: [], traceparent: undefined },
    office,
  );
  if (!stamped.ok) return Response.json(stamped.error, { status: 500 });
  // As a driver gives up an attempt whose time is over.
  const timeout = request.headers.get("x-timeout-ms");
  const signal = timeout === null ? undefined : AbortSignal.timeout(Number(timeout));
  const answer = await tunnelFetch(env.TUNNELS, { target, head: stamped.value }, request.body, signal);
  if (answer.kind === "failure") return Response.json(answer.failure, { status: 503, headers: { "x-failed": "1" } });
  const headers = new Headers();
  for (let i = 0; i < answer.head.fields.length; i += 2)
    headers.append(answer.head.fields[i] ?? "", answer.head.fields[i + 1] ?? "");
  return new Response(answer.body, { status: answer.head.status, headers });
}
