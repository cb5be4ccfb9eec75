/** nginx as a peer, and as the origin: one worker, keep-alive to the origin. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensure } from "../../tools/ensure.ts";
import { type Running, start, untilPort } from "../../tools/processes.ts";
import { BODY_BYTES, QUOTA_PER_SECOND, type Workload } from "../workload.ts";
import type { Peer } from "./peer.ts";

export const nginx: Peer = {
  name: "nginx",
  missing: missingNginx,
  async start({ workload, port, originPort, directory, cpu }) {
    return await startNginx("nginx", join(directory, `nginx-${port}`), port, cpu, proxyConfig(workload, port, originPort));
  },
};

export function missingNginx(): string | undefined {
  const nginx = ensure("nginx");
  return nginx.kind === "missing" ? nginx.reason : undefined;
}

/** The origin: answers every request with a body of `BODY_BYTES`. */
export async function startOrigin(directory: string, port: number, cpu: number | undefined): Promise<Running> {
  const config = `server { listen 127.0.0.1:${port} reuseport backlog=1024; location / { default_type text/plain; return 200 "${"x".repeat(BODY_BYTES)}"; } }`;
  return await startNginx("origin", join(directory, `origin-${port}`), port, cpu, `access_log off; ${config}`);
}

async function startNginx(
  name: string,
  directory: string,
  port: number,
  cpu: number | undefined,
  http: string,
): Promise<Running> {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "nginx.conf");
  writeFileSync(
    file,
    `worker_processes 1; daemon off; pid ${directory}/nginx.pid; error_log ${directory}/error.log error;
events { worker_connections 8192; }
http { client_body_temp_path ${directory}; proxy_temp_path ${directory}; fastcgi_temp_path ${directory}; uwsgi_temp_path ${directory}; scgi_temp_path ${directory};
keepalive_timeout 75; keepalive_requests 1000000000; sendfile on; tcp_nopush on; ${http} }\n`,
  );
  const nginx = ensure("nginx");
  if (nginx.kind === "missing") throw new Error(nginx.reason);
  const running = start(name, [nginx.path, "-p", directory, "-c", file], cpu === undefined ? {} : { cpu });
  await untilPort(running, port);
  return running;
}

function proxyConfig(workload: Workload, port: number, originPort: number): string {
  const forward = `proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;`;
  const locations =
    workload.routes === 0
      ? `location / { ${forward} }`
      : Array.from({ length: workload.routes }, (_, i) => `location /r${i}/ { ${forward} }`).join("\n");
  const policies = workload.policies
    ? `limit_req_zone $binary_remote_addr zone=quota:1m rate=${QUOTA_PER_SECOND}r/s; access_log access.log;`
    : "access_log off;";
  return `${policies} upstream origin { server 127.0.0.1:${originPort}; keepalive 128; keepalive_requests 1000000000; }
server { listen 127.0.0.1:${port} backlog=1024; ${workload.policies ? "limit_req zone=quota burst=100000 nodelay;" : ""} ${locations} }`;
}
