/**
 * Proxies that say how they read what they are given: on one port they answer each request with its method, target and host; on the other they pass the
 * answers of an origin on.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../support/gateway.ts";
import { ensure } from "../../tools/ensure.ts";
import { start, untilPort } from "../../tools/processes.ts";

export type PeerName = "nginx" | "haproxy";

export interface RunningPeer {
  readonly name: PeerName;
  /** Answers requests with `method target host`. */
  readonly echoPort: number;
  /** Passes answers of the origin on. */
  readonly relayPort: number;
  stop(): Promise<void>;
}

/** Why it cannot run here, or undefined. */
export function missing(name: PeerName): string | undefined {
  const found = ensure(name);
  return found.kind === "missing" ? found.reason : undefined;
}

export async function startPeer(name: PeerName, originPort: number): Promise<RunningPeer> {
  const program = ensure(name);
  if (program.kind === "missing") throw new Error(program.reason);
  const directory = mkdtempSync(join(tmpdir(), `tidegate-fuzz-${name}-`));
  const [echoPort, relayPort] = [await freePort(), await freePort()];
  const file = join(directory, `${name}.cfg`);
  const config = name === "nginx" ? nginxConfig : haproxyConfig;
  writeFileSync(file, config(directory, echoPort, relayPort, originPort));
  const command = name === "nginx" ? [program.path, "-p", directory, "-c", file] : [program.path, "-db", "-f", file];
  const running = start(name, command);
  await untilPort(running, echoPort);
  await untilPort(running, relayPort);
  return {
    name,
    echoPort,
    relayPort,
    stop: async () => {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function nginxConfig(directory: string, echoPort: number, relayPort: number, originPort: number): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${directory};`).join(" ");
  return `worker_processes 1; daemon off; pid ${directory}/nginx.pid; error_log /dev/null crit;
events { worker_connections 4096; }
http { ${paths} access_log off; keepalive_requests 1000000; large_client_header_buffers 4 64k; merge_slashes off;
server { listen 127.0.0.1:${echoPort}; default_type text/plain; return 200 "$request_method $request_uri $host\\n"; }
server { listen 127.0.0.1:${relayPort};
  location / { proxy_pass http://127.0.0.1:${originPort}; proxy_http_version 1.1; proxy_set_header Connection close; proxy_next_upstream off; proxy_buffering off; proxy_read_timeout 5s; } }
}
`;
}

function haproxyConfig(_directory: string, echoPort: number, relayPort: number, originPort: number): string {
  return `global
  nbthread 1
  maxconn 4096
  tune.bufsize 65536
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  timeout http-request 5s
frontend echo
  bind 127.0.0.1:${echoPort}
  http-request wait-for-body time 3s
  http-request return status 200 content-type text/plain lf-string "%[method] %[url] %[req.hdr(host)]\\n"
frontend relay
  bind 127.0.0.1:${relayPort}
  default_backend origin
backend origin
  retries 0
  http-reuse never
  server origin 127.0.0.1:${originPort}
`;
}
