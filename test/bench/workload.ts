/** What is measured: the same traffic and, for the full chain, the same features for every proxy. */

export type WorkloadName = "http1-plain" | "http1-full";

export interface Workload {
  readonly name: WorkloadName;
  readonly title: string;
  /** Route prefixes `/r0/` … all to the one origin; 0: everything goes to the origin. */
  readonly routes: number;
  /** A rate limit by client address that never refuses, an access log to a file, and metrics. */
  readonly policies: boolean;
  readonly path: string;
}

export const WORKLOADS: readonly Workload[] = [
  { name: "http1-plain", title: "HTTP/1.1, 1 KiB response, 32 connections", routes: 0, policies: false, path: "/" },
  {
    name: "http1-full",
    title: "the same with 100 routes, quota, access log to file, metrics",
    routes: 100,
    policies: true,
    path: "/r70/item",
  },
];

export const CONNECTIONS = 32;
export const BODY_BYTES = 1024;
/** Far above what any proxy here can do, so that the limiter counts and never refuses. */
export const QUOTA_PER_SECOND = 1_000_000;
