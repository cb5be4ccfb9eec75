/** HAProxy as a peer: one thread, connections to the origin always reused. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensure } from "../../tools/ensure.ts";
import { start, untilPort } from "../../tools/processes.ts";
import { QUOTA_PER_SECOND } from "../workload.ts";
import type { Peer } from "./peer.ts";

export const haproxy: Peer = {
  name: "haproxy",
  missing() {
    const haproxy = ensure("haproxy");
    return haproxy.kind === "missing" ? haproxy.reason : undefined;
  },
  async start({ workload, port, originPort, directory, cpu }) {
    mkdirSync(directory, { recursive: true });
    const log = join(directory, `haproxy-${port}.log`);
    const routes = Array.from({ length: workload.routes }, (_, i) => `  use_backend origin if { path_beg /r${i}/ }`).join("\n");
    const policies = `  stick-table type ip size 10k expire 60s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt ${QUOTA_PER_SECOND} }
  log stdout format raw daemon
  option httplog`;
    const file = join(directory, `haproxy-${port}.cfg`);
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
${workload.policies ? policies : ""}
${routes === "" ? "  default_backend origin" : routes}
backend origin
  server origin 127.0.0.1:${originPort}
`,
    );
    const program = ensure("haproxy");
    if (program.kind === "missing") throw new Error(program.reason);
    const command = workload.policies
      ? ["sh", "-c", `exec ${program.path} -db -f ${file} > ${log} 2>&1`]
      : [program.path, "-db", "-f", file];
    const running = start("haproxy", command, { cpu });
    await untilPort(running, port);
    return running;
  },
};
