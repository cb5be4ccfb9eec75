/** Envoy as a peer: one worker, static cluster, circuit breakers out of the way. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensure } from "../../tools/ensure.ts";
import { start, untilPort } from "../../tools/processes.ts";
import { QUOTA_PER_SECOND, type Workload } from "../workload.ts";
import type { Peer } from "./peer.ts";

const TYPE = "type.googleapis.com/envoy.extensions";

export const envoy: Peer = {
  name: "envoy",
  missing() {
    const envoy = ensure("envoy");
    return envoy.kind === "missing" ? envoy.reason : undefined;
  },
  async start({ workload, port, originPort, directory, cpu }) {
    mkdirSync(directory, { recursive: true });
    const file = join(directory, `envoy-${port}.json`);
    writeFileSync(file, JSON.stringify(bootstrap(workload, port, originPort, join(directory, `envoy-${port}.log`))));
    const program = ensure("envoy");
    if (program.kind === "missing") throw new Error(program.reason);
    const running = start(
      "envoy",
      [program.path, "-c", file, "--concurrency", "1", "-l", "error", "--base-id", String(port % 1000)],
      { cpu },
    );
    await untilPort(running, port);
    return running;
  },
};

function bootstrap(workload: Workload, port: number, originPort: number, log: string): unknown {
  const route = { cluster: "origin", timeout: "0s" };
  const routes =
    workload.routes === 0
      ? [{ match: { prefix: "/" }, route }]
      : Array.from({ length: workload.routes }, (_, i) => ({ match: { prefix: `/r${i}/` }, route }));
  const limiter = {
    name: "envoy.filters.http.local_ratelimit",
    typed_config: {
      "@type": `${TYPE}.filters.http.local_ratelimit.v3.LocalRateLimit`,
      stat_prefix: "quota",
      token_bucket: { max_tokens: QUOTA_PER_SECOND, tokens_per_fill: QUOTA_PER_SECOND, fill_interval: "1s" },
      filter_enabled: { default_value: { numerator: 100, denominator: "HUNDRED" } },
      filter_enforced: { default_value: { numerator: 100, denominator: "HUNDRED" } },
    },
  };
  const accessLog = {
    name: "envoy.access_loggers.file",
    typed_config: { "@type": `${TYPE}.access_loggers.file.v3.FileAccessLog`, path: log },
  };
  const router = { name: "envoy.filters.http.router", typed_config: { "@type": `${TYPE}.filters.http.router.v3.Router` } };
  const manager = {
    "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "in",
    codec_type: "HTTP1",
    generate_request_id: false,
    route_config: { name: "routes", virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
    http_filters: workload.policies ? [limiter, router] : [router],
    ...(workload.policies && { access_log: [accessLog] }),
  };
  const address = (number: number) => ({ socket_address: { address: "127.0.0.1", port_value: number } });
  const unlimited = { max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 };
  return {
    static_resources: {
      listeners: [
        { name: "in", address: address(port), filter_chains: [{ filters: [{ name: "http", typed_config: manager }] }] },
      ],
      clusters: [
        {
          name: "origin",
          type: "STATIC",
          connect_timeout: "5s",
          circuit_breakers: { thresholds: [unlimited] },
          load_assignment: {
            cluster_name: "origin",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address(originPort) } }] }],
          },
        },
      ],
    },
  };
}
