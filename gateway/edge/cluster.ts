/**
 * Requests for services of a cluster: each with a passport of its own, over HTTPS to the cluster's gateway, or through the cluster's tunnel.
 *
 * A passport is made when the request goes out, not when it is decided to send it: a body that is kept for another attempt may take longer to come than a
 * passport lives.
 */
import { PASSPORT_FIELD } from "../core/identity/index.ts";
import { type Established, field, type RequestHead, type SendStep } from "../core/index.ts";
import type { ClusterVia } from "../core/ir/index.ts";
import { KnownFailure } from "./fetch-failure.ts";
import { fieldsInit } from "./fields.ts";
import { type PassportOffice, passportFor, passportKey } from "./passport.ts";
import { hasNoContent } from "./response.ts";
import type { Secret } from "./secret.ts";
import { type TunnelAnswer, type TunnelHubs, tunnelFetch } from "./tunnel.ts";
import { refused, type UpstreamCall, type Upstreams } from "./upstream.ts";

export interface ClusterOptions extends Omit<PassportOffice, "key"> {
  /** Private JWK; undefined: the site has none. */
  readonly passportKey: Secret | undefined;
  readonly tunnels: TunnelHubs | undefined;
  readonly upstreams: Upstreams;
}

type ClusterSend = Pick<SendStep, "target" | "head" | "switchTo">;

export class Clusters {
  readonly #options: ClusterOptions;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /** @param via of the send's target */
  call(send: ClusterSend, via: ClusterVia, established: Established | undefined): UpstreamCall {
    const { passportKey, tunnels } = this.#options;
    if (passportKey === undefined)
      return refused(`cluster ${via.cluster} takes requests with passports only, and this site has no key: bind PASSPORT_KEY`);
    if (via.kind === "passport") return this.#toGateway(send, via, established, passportKey);
    if (tunnels === undefined)
      return refused(`cluster ${via.cluster} is reached by a tunnel, and this site has none: bind TUNNELS`);
    if (send.switchTo !== undefined)
      return refused(`cluster ${via.cluster} is reached by a tunnel, which carries no ${send.switchTo}`);
    return this.#throughTunnel(send, established, passportKey, tunnels);
  }

  #toGateway(
    { target, head }: ClusterSend,
    { cluster }: ClusterVia,
    established: Established | undefined,
    key: Secret,
  ): UpstreamCall {
    // On this very machine nobody can read it on its way.
    if (target.tls === undefined && !isLoopback(target.endpoint.address))
      return refused(`the gateway of cluster ${cluster} is to be reached without TLS`);
    const call = this.#options.upstreams.call(target, head, true);
    if (call.kind === "refused") return call;
    const wire = wireForm(call.url);
    if (wire === undefined) return refused(`${call.url} is no URL`);
    const wireHead: RequestHead = { ...head, target: wire.target };
    const { fetcher } = call;
    return {
      ...call,
      fetcher: {
        fetch: async (input, init) => {
          const { fields } = await this.#stamped({ target, head: wireHead }, established, key, wire.authority);
          const headers = new Headers(init.headers);
          headers.set(PASSPORT_FIELD, field(fields, PASSPORT_FIELD) ?? "");
          return await fetcher.fetch(input, { ...init, headers });
        },
      },
    };
  }

  #throughTunnel(send: ClusterSend, established: Established | undefined, key: Secret, hubs: TunnelHubs): UpstreamCall {
    return {
      kind: "call",
      url: NOWHERE,
      fetcher: {
        fetch: async (input, init) => {
          const head = await this.#stamped(send, established, key);
          const sent = { target: send.target, head: { ...head, fields: withoutExpect(head.fields) } };
          const answer = await tunnelFetch(hubs, sent, contentOf(input, init), init.signal ?? undefined);
          return tunnelResponse(answer, head.method);
        },
      },
    };
  }

  /** @throws KnownFailure */
  async #stamped(
    send: Pick<SendStep, "target" | "head">,
    established: Established | undefined,
    secret: Secret,
    wireAuthority?: string,
  ): Promise<RequestHead> {
    const key = await passportKey(secret.reveal());
    if (!key.ok) throw new KnownFailure(key.error);
    const { site, unixMs, newId } = this.#options;
    const stamped = await passportFor(send, established, { site, unixMs, newId, key: key.value }, wireAuthority);
    if (!stamped.ok) throw new KnownFailure(stamped.error);
    return stamped.value;
  }
}

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127(?:\.\d{1,3}){3}$/.test(address);
}

/** The tunnel's head says where its request goes. */
const NOWHERE = "https://tunnel.invalid/";

/**
 * What `fetch` makes of a URL on its way (WHATWG URL): default ports go, some characters are encoded. Whoever checks the passport sees the request like this.
 */
function wireForm(text: string): { readonly authority: string; readonly target: string } | undefined {
  const url = URL.parse(text);
  // `search` would leave out a `?` with nothing behind it.
  return url === null ? undefined : { authority: url.host, target: url.href.slice(url.origin.length) };
}

/** RFC 9110 10.1.1: the platform has given the go-ahead itself. */
function withoutExpect(fields: readonly string[]): string[] {
  return fields.filter((_, i) => fields[i - (i % 2)] !== "expect");
}

function contentOf(input: string | Request, { body }: RequestInit): ReadableStream<Uint8Array> | null {
  return typeof input === "string" ? new Response(body ?? null).body : input.body;
}

/** @throws KnownFailure */
function tunnelResponse(answer: TunnelAnswer, method: string): Response {
  if (answer.kind === "failure") throw new KnownFailure(answer.failure);
  const { head, body } = answer;
  const { status } = head;
  // Switching protocols was not asked for, and interim responses stay with the gateway.
  if (status < 200 || status > 599) {
    body?.cancel().catch(() => undefined);
    throw new KnownFailure({ code: "upstream_protocol", reason: "status_out_of_range", neverSent: false });
  }
  const headers = new Headers(fieldsInit(head.fields));
  if (head.body.kind === "length") headers.set("content-length", String(head.body.bytes));
  return new Response(hasNoContent(status, method) ? null : body, { status, headers, encodeBody: "manual" });
}
