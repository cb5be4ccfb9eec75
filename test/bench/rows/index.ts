/** The rows of the table, in its order. Those in one batch are measured in the same rounds, because bars or readers hold them against each other. */
import { bodiesDown, bodiesUp } from "./bodies.ts";
import { grpc } from "./grpc.ts";
import { http1Full } from "./http1-full.ts";
import { http1Plain } from "./http1-plain.ts";
import { http1Tls } from "./http1-tls.ts";
import { http2Tls } from "./http2-tls.ts";
import { latency } from "./latency.ts";
import { routesFew, routesMany } from "./routes.ts";
import type { Row } from "./row.ts";
import { tcp } from "./tcp.ts";
import { threads } from "./threads.ts";
import { tlsConnections } from "./tls-connections.ts";

export const BATCHES: readonly (readonly Row[])[] = [
  [http1Plain, http1Full],
  [http1Tls],
  [http2Tls],
  [grpc],
  [tcp],
  [bodiesDown, bodiesUp],
  [routesFew, routesMany],
  [tlsConnections],
  [threads],
  [latency],
];

export const ROWS: readonly Row[] = BATCHES.flat();
