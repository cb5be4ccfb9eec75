/** The head that goes to the origin: rewritten, with a gateway's own fields, edited as the route and its destination say. */
import type { HeaderEdit } from "../compile/headers.ts";
import type { MatchTest } from "../compile/match.ts";
import type { CompiledDestination, CompiledForward, CompiledRoute } from "../compile/tables.ts";
import type { RequestHead } from "../http/message.ts";
import { type ForwardedRequest, upstreamFields } from "../http/upstream-head.ts";
import type { Settings } from "../ir/settings.ts";
import type { PeerInfo, Random } from "../ports.ts";
import { editFields } from "./headers.ts";
import { rewritePath } from "./rewrite.ts";

export interface ForwardContext extends ForwardedRequest {
  readonly head: RequestHead;
  /** Normalised. */
  readonly path: string;
  readonly match: MatchTest | undefined;
  readonly route: Pick<CompiledRoute, "requestEdit"> | undefined;
  readonly peer: Pick<PeerInfo, "address" | "clientAddress" | "certificate">;
  readonly random: Random;
}

export function upstreamHead(
  context: ForwardContext,
  action: CompiledForward,
  destination: CompiledDestination,
  settings: Pick<Settings, "numTrustedProxies" | "forwardClientCert">,
): RequestHead {
  const { head } = context;
  const { peer } = context;
  const { numTrustedProxies, forwardClientCert } = settings;
  // Whoever vouches for the client's address has written the other fields of this kind as well.
  const trusted = peer.clientAddress === undefined ? numTrustedProxies : Math.max(1, numTrustedProxies);
  const address = peer.clientAddress ?? peer.address;
  const fields = upstreamFields(context, address, trusted, context.random, peer.certificate, forwardClientCert);
  const edit = destination.requestEdit ?? context.route?.requestEdit;
  if (edit !== undefined) editFields(fields, editFor(head.method, edit));
  const path = action.rewrite === undefined ? context.path : rewritePath(action.rewrite, context.match, context.path);
  return {
    method: head.method,
    scheme: head.scheme,
    authority: destination.authority ?? (head.authority || serviceName(destination)),
    target: withQueryOf(head.target, path),
    fields,
    body: head.body,
  };
}

/** RFC 9110 9.3.8: what a TRACE carries comes back to whoever sent it, so nothing that configuration knows is put in. */
function editFor(method: string, edit: HeaderEdit): HeaderEdit {
  return method === "TRACE" ? { drop: edit.drop, append: [] } : edit;
}

/** An HTTP/1.0 client may name no host, the HTTP/1.1 request that goes on must (RFC 9112 3.2): it names the service it goes to. */
function serviceName({ cluster }: CompiledDestination): string {
  return cluster?.source.host ?? "";
}

/** `path` with the query of `target`; `target` itself when the path is its own. */
function withQueryOf(target: string, path: string): string {
  const mark = target.indexOf("?");
  if (mark === -1) return path;
  return path.length === mark && target.startsWith(path) ? target : path + target.slice(mark);
}
