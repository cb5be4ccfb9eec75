/** nginx as a peer, and as the origin: one worker, keep-alive to the origin. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensure } from "../../tools/ensure.ts";
import { type Running, start, untilPort } from "../../tools/processes.ts";
import { hostName, QUOTA_PER_SECOND, type Workload } from "../workload.ts";
import { idleAccessLog } from "./features.ts";
import type { Peer, TlsFiles } from "./peer.ts";

export const nginx: Peer = {
  name: "nginx",
  missing: missingNginx,
  async start({ workload, port, originPort, directory, cpus, tls }) {
    const home = join(directory, `nginx-${port}`);
    const blocks =
      workload.downstream === "tcp"
        ? { stream: streamConfig(port, originPort) }
        : { http: httpConfig(workload, port, originPort, tls) };
    const running = await startNginx({ name: "nginx", directory: home, port, cpus, ...blocks });
    return { port, process: running, idleFeature: async () => idleAccessLog(workload, join(home, "access.log")) };
  },
};

export function missingNginx(): string | undefined {
  const nginx = ensure("nginx");
  return nginx.kind === "missing" ? nginx.reason : undefined;
}

export interface NginxOptions {
  readonly name: string;
  readonly directory: string;
  readonly port: number;
  readonly cpus: string;
  readonly http?: string;
  readonly stream?: string;
}

export async function startNginx({ name, directory, port, cpus, http, stream }: NginxOptions): Promise<Running> {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${directory};`)
    .join(" ");
  // One process: memory that two share is not counted twice, none is left behind when the other is killed, and it stays who it was.
  writeFileSync(
    file,
    `${stream === undefined ? "" : `load_module ${streamModule()};`}
master_process off; daemon off; pid ${directory}/nginx.pid; error_log ${directory}/error.log error;
events { worker_connections 8192; }
${stream === undefined ? "" : `stream { ${stream} }`}
${http === undefined ? "" : `http { ${temporary} keepalive_timeout 75; keepalive_requests 1000000000; sendfile on; tcp_nopush on; ${http} }`}
`,
  );
  const nginx = ensure("nginx");
  if (nginx.kind === "missing") throw new Error(nginx.reason);
  const running = start(name, [nginx.path, "-p", directory, "-c", file], { cpus });
  await untilPort(running, port);
  return running;
}

function streamModule(): string {
  const found = ensure("nginx-stream");
  if (found.kind === "missing") throw new Error(found.reason);
  return found.path;
}

function streamConfig(port: number, originPort: number): string {
  return `upstream origin { server 127.0.0.1:${originPort}; } server { listen 127.0.0.1:${port} backlog=4096; proxy_pass origin; }`;
}

/** Several connections that are kept can have such a reset waiting. */
const GRPC_TRIES = 16;

function httpConfig(workload: Workload, port: number, originPort: number, tls: TlsFiles): string {
  const { routes, policies } = workload;
  const hosts = routes === undefined || routes.hosts === 0 ? ["_"] : Array.from({ length: routes.hosts }, (_, i) => hostName(i));
  const locations =
    routes === undefined
      ? `location / { ${forward(workload)} }`
      : Array.from({ length: routes.perHost }, (_, i) => `location /r${i}/ { ${forward(workload)} }`).join("\n");
  const zone = policies
    ? `limit_req_zone $binary_remote_addr zone=quota:1m rate=${QUOTA_PER_SECOND}r/s; access_log access.log combined buffer=64k flush=1s;`
    : "access_log off;";
  const limit = policies ? "limit_req zone=quota burst=100000 nodelay;" : "";
  const { listen, certificate } = listenOf(workload, tls);
  const servers = hosts.map(
    (host, i) =>
      `server { listen 127.0.0.1:${port}${listen}${i === 0 ? " backlog=4096" : ""}; server_name ${host}; ${limit} client_max_body_size 0; ${locations} }`,
  );
  // Now and then an origin resets a stream that it has answered, which nginx takes for a fault of the next one: it may try again, for which it
  // wants more than one server.
  const origins = Array.from(
    { length: workload.upstream === "http2" ? GRPC_TRIES : 1 },
    () => `server 127.0.0.1:${originPort} max_fails=0;`,
  );
  return `${zone} ${certificate} server_names_hash_max_size 16384; server_names_hash_bucket_size 128;
upstream origin { ${origins.join(" ")} keepalive 128; keepalive_requests 1000000000; }
${servers.join("\n")}`;
}

function listenOf(
  { downstream }: Workload,
  { certificate, key }: TlsFiles,
): { readonly listen: string; readonly certificate: string } {
  if (downstream === "http2") return { listen: " http2", certificate: "" };
  if (downstream !== "tls") return { listen: "", certificate: "" };
  return {
    listen: " ssl http2",
    certificate: `ssl_certificate ${certificate}; ssl_certificate_key ${key}; ssl_protocols TLSv1.2 TLSv1.3;`,
  };
}

/** Bodies are passed on as they come, in both directions, and never written to disk. */
function forward({ upstream }: Workload): string {
  if (upstream === "http2") return "grpc_pass grpc://origin; grpc_next_upstream error timeout invalid_header non_idempotent;";
  return `proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_request_buffering off; proxy_max_temp_file_size 0;`;
}
