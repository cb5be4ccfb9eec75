/** Envoy as a peer: one worker, static cluster, circuit breakers out of the way. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensure } from "../../tools/ensure.ts";
import { start, untilPort } from "../../tools/processes.ts";
import { hostName, QUOTA_PER_SECOND, type Routes, type Workload } from "../workload.ts";
import { idleAccessLog } from "./features.ts";
import type { Peer, PeerOptions, TlsFiles } from "./peer.ts";

const TYPE = "type.googleapis.com/envoy.extensions";
/** From a proxy's port to its admin port. */
const ADMIN_OFFSET = 400;

export const envoy: Peer = {
  name: "envoy",
  missing() {
    const envoy = ensure("envoy");
    return envoy.kind === "missing" ? envoy.reason : undefined;
  },
  async start(options) {
    const { workload, port, directory, cpus } = options;
    const home = join(directory, `envoy-${port}`);
    mkdirSync(home, { recursive: true });
    const file = join(home, "envoy.json");
    const log = join(home, "access.log");
    writeFileSync(file, JSON.stringify(bootstrap(options, log)));
    const program = ensure("envoy");
    if (program.kind === "missing") throw new Error(program.reason);
    const command = [program.path, "-c", file, "--concurrency", "1", "-l", "error", "--base-id", String(port % 1000)];
    const running = start("envoy", command, { cpus });
    await untilPort(running, port);
    const idleFeature = async () => (await idleStatistics(workload, port + ADMIN_OFFSET)) ?? idleAccessLog(workload, log);
    return { port, process: running, idleFeature };
  },
};

/** Envoy counts what its limiter decided; that it counts at all is its metrics. */
async function idleStatistics({ policies, downstream }: Workload, adminPort: number): Promise<string | undefined> {
  if (!policies || downstream === "tcp") return undefined;
  const answer = await fetch(`http://127.0.0.1:${adminPort}/stats?filter=http_local_rate_limit.enabled|downstream_rq_2xx`);
  const counted = new Map(
    [...(await answer.text()).matchAll(/^(\S+): (\d+)$/gm)].map(([, name = "", count]) => [name, Number(count)]),
  );
  const requests = [...counted].find(([name]) => name.endsWith("downstream_rq_2xx"))?.[1] ?? 0;
  const limited = [...counted].find(([name]) => name.endsWith("http_local_rate_limit.enabled"))?.[1] ?? 0;
  if (requests === 0) return "statistics";
  return limited >= requests ? undefined : "local rate limit";
}

function address(port: number): unknown {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

function bootstrap(options: PeerOptions, log: string): unknown {
  const { workload, port, originPort, tls } = options;
  const filter = workload.downstream === "tcp" ? tcpProxy() : connectionManager(workload, log);
  const chain = { filters: [filter], ...(workload.downstream === "tls" && { transport_socket: tlsSocket(tls) }) };
  const unlimited = { max_connections: 16_384, max_pending_requests: 16_384, max_requests: 16_384 };
  const http2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  };
  return {
    admin: { address: address(port + ADMIN_OFFSET) },
    static_resources: {
      listeners: [{ name: "in", address: address(port), filter_chains: [chain] }],
      clusters: [
        {
          name: "origin",
          type: "STATIC",
          connect_timeout: "5s",
          circuit_breakers: { thresholds: [unlimited] },
          ...(workload.upstream === "http2" && { typed_extension_protocol_options: http2 }),
          load_assignment: {
            cluster_name: "origin",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address(originPort) } }] }],
          },
        },
      ],
    },
  };
}

function tcpProxy(): unknown {
  const typed_config = { "@type": `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`, stat_prefix: "in", cluster: "origin" };
  return { name: "envoy.filters.network.tcp_proxy", typed_config };
}

function connectionManager({ routes, policies, downstream }: Workload, log: string): unknown {
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
  const typed_config = {
    "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "in",
    codec_type: { http1: "HTTP1", http2: "HTTP2", tls: "AUTO", tcp: "AUTO" }[downstream],
    generate_request_id: false,
    // ab speaks HTTP/1.0.
    http_protocol_options: { accept_http_10: true },
    route_config: { name: "routes", virtual_hosts: virtualHosts(routes) },
    http_filters: policies ? [limiter, router] : [router],
    ...(policies && { access_log: [accessLog] }),
  };
  return { name: "http", typed_config };
}

function virtualHosts(routes: Routes | undefined): readonly unknown[] {
  const route = { cluster: "origin", timeout: "0s" };
  if (routes === undefined) return [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route }] }];
  const perHost = Array.from({ length: routes.perHost }, (_, i) => ({ match: { prefix: `/r${i}/` }, route }));
  if (routes.hosts === 0) return [{ name: "all", domains: ["*"], routes: perHost }];
  return Array.from({ length: routes.hosts }, (_, i) => ({ name: `h${i}`, domains: [hostName(i)], routes: perHost }));
}

function tlsSocket({ certificate, key }: TlsFiles): unknown {
  const certificates = [{ certificate_chain: { filename: certificate }, private_key: { filename: key } }];
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
      common_tls_context: { alpn_protocols: ["h2", "http/1.1"], tls_certificates: certificates },
    },
  };
}
