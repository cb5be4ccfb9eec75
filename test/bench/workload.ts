/** What a proxy is set up to do: the same traffic and the same features for every one that takes part in a row. */

export interface Workload {
  /** What clients speak; `http2`: in clear, by prior knowledge; `tls`: HTTP/2 or HTTP/1.1, as ALPN has it. */
  readonly downstream: "http1" | "http2" | "tls" | "tcp";
  readonly upstream: "http1" | "http2" | "tcp";
  /** Undefined: all that comes goes to the origin. */
  readonly routes?: Routes;
  /** A rate limit by client address that never refuses, an access log to a file, and metrics. */
  readonly policies: boolean;
  /** Threads that serve; 1 unless the row is about them. */
  readonly threads?: number;
}

/** Path prefixes `/r0/`, `/r1/` … all to the one origin. */
export interface Routes {
  /** `h0.bench.local`, `h1.bench.local` … with routes of their own; 0: the routes hold for any host. */
  readonly hosts: number;
  readonly perHost: number;
}

/** What a user runs: routes, quota, metrics, access log. */
export const FULL_CHAIN = { routes: { hosts: 0, perHost: 100 }, policies: true } as const;
export const PLAIN = { policies: false } as const;
/** Within the full chain's routes: neither among the first nor among the last. */
export const FULL_CHAIN_PATH = "/r70/item";

/** Of clients that speak HTTP/1.1 or TCP. */
export const CONNECTIONS = 32;
export const BODY_BYTES = 1024;
export const MIB = 1_048_576;
/** Far above what any proxy here can do, so that the limiter counts and never refuses. */
export const QUOTA_PER_SECOND = 1_000_000;

export function hostName(index: number): string {
  return `h${index}.bench.local`;
}

/** Every route with its host; undefined: any host. */
export function routeList({ hosts, perHost }: Routes): readonly { readonly host: string | undefined; readonly prefix: string }[] {
  const names = hosts === 0 ? [undefined] : Array.from({ length: hosts }, (_, index) => hostName(index));
  return names.flatMap((host) => Array.from({ length: perHost }, (_, index) => ({ host, prefix: `/r${index}/` })));
}
