/**
 * The isolate's side of tunnels: requests for a cluster without a public address go to the cluster's TunnelHub, and gateways of the cluster are let in to it.
 *
 *     isolate ──fetch──► TunnelHub (one per cluster) ◄──WebSocket── gateway of the cluster
 *
 * A head travels as one field, in the form of a tunnel frame, so that nothing between here and the gateway parses or normalises any of it.
 */
import { base64url } from "jose";
import {
  type AttemptFailure,
  bodyBehind,
  decodeFrame,
  type ErrorCode,
  encodeFrame,
  type RequestHead,
  type ResponseHead,
  type UpstreamTarget,
} from "../core/index.ts";
import { MAX_CLUSTER_NAME_CHARS } from "./tunnel-limits.ts";

/** Where gateways of clusters connect to. */
export const TUNNEL_PATH = "/.tidegate/tunnel";

/** Fields between isolate and hub. */
export const HEAD_FIELD = "x-tidegate-tunnel-head";
export const FAILURE_FIELD = "x-tidegate-tunnel-failure";

/** The binding TUNNELS: objects of class TunnelHub. */
export interface TunnelHubs {
  idFromName(name: string): DurableObjectId;
  get(id: DurableObjectId): Pick<DurableObjectStub, "fetch">;
}

/** What the driver gets: the same two outcomes as of any attempt. */
export type TunnelAnswer =
  | {
      readonly kind: "response";
      readonly head: ResponseHead;
      /** Read as fast as the client reads; cancelled, the gateway stops. Null: there is none. */
      readonly body: ReadableStream<Uint8Array> | null;
    }
  | { readonly kind: "failure"; readonly failure: Omit<AttemptFailure, "replayable"> };

/**
 * Sends a request through the tunnel of `send.target.via`'s cluster.
 *
 * @param send with the passport in its head (passportFor)
 * @param body the client's, unread; null: none
 * @param signal aborts the attempt, on both sides of the tunnel
 */
export async function tunnelFetch(
  hubs: TunnelHubs,
  send: { readonly target: UpstreamTarget; readonly head: RequestHead },
  body: ReadableStream<Uint8Array> | null,
  signal?: AbortSignal,
): Promise<TunnelAnswer> {
  const { via } = send.target;
  if (via?.kind !== "tunnel") return failure("internal", "the cluster is not reached by a tunnel", true);
  let head: string;
  try {
    head = base64url.encode(encodeFrame({ kind: "open", stream: 1, head: send.head }));
  } catch (error) {
    return failure("header_too_large", error instanceof Error ? error.message : String(error), true);
  }
  try {
    const init = { method: "POST", headers: { [HEAD_FIELD]: head }, body, ...(signal === undefined ? {} : { signal }) };
    const response = await hubs.get(hubs.idFromName(via.cluster)).fetch("http://tunnel/", init);
    return readAnswer(send.head.method, response);
  } catch (error) {
    return failure("upstream_reset", `the tunnel's hub: ${error instanceof Error ? error.message : String(error)}`, false);
  }
}

/**
 * Lets a gateway of a cluster in: `GET /.tidegate/tunnel?cluster=<name>` with the site's tunnel token. The answer goes to the gateway as it is.
 *
 * @param token the binding TUNNEL_TOKEN, compared in constant time; undefined: the site takes no tunnels
 */
export async function acceptTunnel(
  request: Request,
  hubs: TunnelHubs,
  token: { matches(given: string): Promise<boolean> } | undefined,
): Promise<Response> {
  if (token === undefined) return refusal(404, "this site takes no tunnels: bind TUNNEL_TOKEN");
  const given = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (given === undefined || !(await token.matches(given))) return refusal(401, "the tunnel token is missing or wrong");
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return refusal(426, "a tunnel is a WebSocket");
  const cluster = new URL(request.url).searchParams.get("cluster") ?? "";
  if (!/^[\x21-\x7e]+$/.test(cluster) || cluster.length > MAX_CLUSTER_NAME_CHARS)
    return refusal(400, `?cluster= has to be the cluster's name, at most ${MAX_CLUSTER_NAME_CHARS} characters`);
  return hubs.get(hubs.idFromName(cluster)).fetch(request);
}

function refusal(status: number, problem: string): Response {
  return new Response(`${problem}\n`, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

function readAnswer(method: string, response: Response): TunnelAnswer {
  const failed = response.headers.get(FAILURE_FIELD);
  if (failed !== null) return { kind: "failure", failure: JSON.parse(failed) as Omit<AttemptFailure, "replayable"> };
  const frame = decodeFrame(fromBase64url(response.headers.get(HEAD_FIELD) ?? ""));
  if (!frame.ok || frame.value.kind !== "head") return failure("internal", "the tunnel's hub answered without a head", false);
  const { head } = frame.value;
  return { kind: "response", head, body: bodyBehind(method, head).kind === "none" ? null : response.body };
}

function failure(code: ErrorCode, reason: string, neverSent: boolean): TunnelAnswer {
  return { kind: "failure", failure: { code, reason, neverSent } };
}

/** Empty for what is no base64url: no frame is. */
function fromBase64url(text: string): Uint8Array {
  try {
    return base64url.decode(text);
  } catch {
    return new Uint8Array(0);
  }
}
