/** A site with nothing but its relay, and a door through which a test calls it as an isolate does. */

import { RELAY_PATH } from "../../../gateway/core/ir/index.ts";
import { readIngress } from "../../../gateway/edge/env.ts";
import { SnapshotRelay as Relay } from "../../../gateway/edge/relay-do.ts";
import { type RelayAnswer, relayOf } from "../../../gateway/edge/relay-rpc.ts";

interface Env {
  readonly SITE: string;
  readonly RELAY: DurableObjectNamespace<SnapshotRelay>;
}

export class SnapshotRelay extends Relay {
  readonly #instance = crypto.randomUUID();

  /** Another one after each eviction. */
  instance(): string {
    return this.#instance;
  }

  /** Ends the object in the middle of whatever it is doing. */
  crash(): void {
    this.ctx.abort("crashed by a test");
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname.startsWith(RELAY_PATH)) return await fromControlPlane(request, env);
    const relay = relayOf(env.RELAY, env.SITE);
    const object = env.RELAY.get(env.RELAY.idFromName(env.SITE));
    const have = searchParams.get("have") ?? undefined;
    switch (pathname) {
      case "/current":
        return shown(await relay.current(have));
      case "/watch":
        return shown(await relay.watch(have, Number(searchParams.get("waitMs"))));
      case "/chunks": {
        const chunks = await relay.chunks(searchParams.getAll("hash"));
        return Response.json(chunks.map(({ hash, bytes }) => ({ hash, bytes: bytes.byteLength })));
      }
      case "/instance":
        return new Response(await object.instance());
      case "/crash":
        await object.crash();
        return new Response();
      default:
        return new Response("not found", { status: 404 });
    }
  },
} satisfies ExportedHandler<Env>;

async function fromControlPlane(request: Request, env: Env): Promise<Response> {
  const settings = readIngress(env);
  if (!settings.ok) return Response.json(settings.error, { status: 500 });
  const { relay, relayToken, site } = settings.value;
  const [scheme, given = ""] = (request.headers.get("authorization") ?? "").split(" ");
  if (scheme !== "Bearer" || !(await relayToken.matches(given))) return new Response(null, { status: 401 });
  return await relay.get(relay.idFromName(site)).fetch(request);
}

function shown(answer: RelayAnswer): Response {
  if (answer.kind !== "snapshot") return Response.json(answer);
  const { kind, version, manifest, roots, chunks } = answer;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return Response.json({
    kind,
    version,
    manifest: text(manifest),
    roots: roots.map(text),
    chunks: chunks.map(({ hash, bytes }) => ({ hash, content: text(bytes) })),
  });
}
