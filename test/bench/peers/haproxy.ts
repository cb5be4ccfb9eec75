/** HAProxy as a peer: one thread, connections to the origin always reused. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensure } from "../../tools/ensure.ts";
import { start, untilPort } from "../../tools/processes.ts";
import { QUOTA_PER_SECOND, type Routes, routeList } from "../workload.ts";
import { idleAccessLog } from "./features.ts";
import type { Peer, PeerOptions } from "./peer.ts";

export const haproxy: Peer = {
  name: "haproxy",
  missing() {
    const haproxy = ensure("haproxy");
    return haproxy.kind === "missing" ? haproxy.reason : undefined;
  },
  async start(options) {
    const { workload, port, directory, cpus } = options;
    const home = join(directory, `haproxy-${port}`);
    mkdirSync(home, { recursive: true });
    const log = join(home, "access.log");
    const file = join(home, "haproxy.cfg");
    writeFileSync(file, workload.downstream === "tcp" ? tcpConfig(options) : httpConfig(options, join(home, "routes.map")));
    const program = ensure("haproxy");
    if (program.kind === "missing") throw new Error(program.reason);
    const command = workload.policies
      ? ["sh", "-c", `exec ${program.path} -db -f ${file} > ${log} 2>&1`]
      : [program.path, "-db", "-f", file];
    const running = start("haproxy", command, { cpus });
    await untilPort(running, port);
    return { port, process: running, idleFeature: async () => idleAccessLog(workload, log) };
  },
};

function global(mode: "http" | "tcp"): string {
  return `global
  nbthread 1
  maxconn 8192
defaults
  mode ${mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`;
}

function tcpConfig({ port, originPort }: PeerOptions): string {
  return `${global("tcp")}frontend in
  bind 127.0.0.1:${port} backlog 4096
  default_backend origin
backend origin
  server origin 127.0.0.1:${originPort}
`;
}

/** Routes stand in a map, which HAProxy looks up as a tree: a list of conditions would be walked from the start. */
function httpConfig({ workload, port, originPort, tls }: PeerOptions, map: string): string {
  const { routes, policies, downstream, upstream } = workload;
  if (routes !== undefined) writeFileSync(map, mapOf(routes));
  const bind = { http1: "", http2: " proto h2", tls: ` ssl crt ${tls.combined} alpn h2,http/1.1`, tcp: "" }[downstream];
  const key = routes?.hosts === 0 ? "path" : "base";
  const quota = `  stick-table type ip size 10k expire 60s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt ${QUOTA_PER_SECOND} }
  log stdout format raw daemon
  option httplog`;
  return `${global("http")}  http-reuse always
frontend in
  bind 127.0.0.1:${port}${bind} backlog 4096
${policies ? quota : ""}
${routes === undefined ? "  default_backend origin" : `  use_backend %[${key},map_beg(${map})]`}
backend origin
  server origin 127.0.0.1:${originPort}${upstream === "http2" ? " proto h2" : ""}
`;
}

function mapOf(routes: Routes): string {
  return routeList(routes)
    .map(({ host = "", prefix }) => `${host}${prefix} origin\n`)
    .join("");
}
