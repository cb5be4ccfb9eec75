/**
 * An endpoint as something that `fetch` can be asked for.
 *
 * On Workers the URL decides everything: where to connect, TLS, SNI, and what Host says. A binding leads to the endpoint whatever the URL says:
 * `UPSTREAM_<HOST>_<PORT>`, a service binding to an external server of a self-hosted workerd. Without one the endpoint sees its own name for its Host:
 * on Cloudflare that is how it is, and the route's status says so; where a binding could have kept the client's, its absence is an error.
 * Addresses instead of names work only self-hosted. Translation refuses routes that need more.
 */
import { parseAddress, type RequestHead, sameAuthority, type UpstreamEndpoint, type UpstreamTarget } from "../core/index.ts";
import { upstreamBinding } from "../core/ir/index.ts";

export type UpstreamCall =
  | { readonly kind: "call"; readonly url: string; readonly fetcher: UpstreamFetcher }
  /** It cannot be done here; `reason` says what is in the way. */
  | { readonly kind: "refused"; readonly reason: string };

export interface UpstreamFetcher {
  fetch(input: string | Request, init: RequestInit): Promise<Response>;
  /** The same by a `PlainGet`. Absent: what is sent has to be looked at, or changed, on its way. */
  fetchPlain?(url: string, plain: Request): Promise<Response>;
}

export interface UpstreamOptions {
  /** Endpoints may be IP addresses. */
  readonly allowAddresses: boolean;
  /** An endpoint without a binding sees its own name for its Host. */
  readonly ownHost: boolean;
}

export class Upstreams {
  readonly #env: Readonly<Record<string, unknown>>;
  readonly #options: UpstreamOptions;
  /** What an endpoint's address says is read once. */
  readonly #places = new WeakMap<UpstreamEndpoint, Place>();

  constructor(env: object, options: UpstreamOptions) {
    this.#env = env as Readonly<Record<string, unknown>>;
    this.#options = options;
  }

  /** @param ownHost the endpoint is not the service itself, and is told in another way for whom the request is */
  call(
    target: UpstreamTarget,
    head: Pick<RequestHead, "authority" | "target">,
    ownHost: boolean = this.#options.ownHost,
  ): UpstreamCall {
    const { bound, own, isAddress, binding } = this.#place(target.endpoint);
    const scheme = target.tls === undefined ? "http" : "https";
    if (head.target === "*") return refused("the runtime cannot ask an origin for `*`");
    if (bound !== undefined) return { kind: "call", url: `${scheme}://${head.authority}${head.target}`, fetcher: bound };
    if (isAddress && !this.#options.allowAddresses) {
      const { address } = target.endpoint;
      return refused(`${address} is an IP address, and this runtime reaches names only: name the endpoint, or bind ${binding}`);
    }
    if (ownHost) return { kind: "call", url: `${scheme}://${own}${head.target}`, fetcher: INTERNET };
    if (!sameAuthority(own, head.authority, scheme)) {
      return refused(
        `the origin would be told ${own} for its Host instead of ${head.authority}: set the route's authority to the endpoint's name, or bind ${binding}`,
      );
    }
    return { kind: "call", url: `${scheme}://${head.authority}${head.target}`, fetcher: INTERNET };
  }

  #place(endpoint: UpstreamEndpoint): Place {
    const known = this.#places.get(endpoint);
    if (known !== undefined) return known;
    const { address, port } = endpoint;
    const binding = upstreamBinding(address, port);
    const value = this.#env[binding];
    const place: Place = {
      binding,
      bound: isFetcher(value) ? boundTo(value) : undefined,
      own: `${address.includes(":") ? `[${address}]` : address}:${port}`,
      isAddress: parseAddress(address) !== undefined,
    };
    this.#places.set(endpoint, place);
    return place;
  }
}

/** Where an endpoint is. */
interface Place {
  /** Name of the binding that would lead to it. */
  readonly binding: string;
  readonly bound: UpstreamFetcher | undefined;
  /** Its own authority. */
  readonly own: string;
  readonly isAddress: boolean;
}

const INTERNET: UpstreamFetcher = {
  fetch: (input, init) => fetch(input, init),
  fetchPlain: (url, plain) => fetch(url, plain),
};

function boundTo(binding: Fetcher): UpstreamFetcher {
  return {
    fetch: (input, init) => binding.fetch(input, init),
    fetchPlain: (url, plain) => binding.fetch(url, plain),
  };
}

export function refused(reason: string): UpstreamCall {
  return { kind: "refused", reason };
}

function isFetcher(value: unknown): value is Fetcher {
  return typeof value === "object" && value !== null && "fetch" in value;
}
