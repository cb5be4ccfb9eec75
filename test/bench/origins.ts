/** What stands behind the proxies, on the load's core: nginx, so that it is never the slowest part, and a reader of uploads. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { accepts, type Running, start, untilPort } from "../tools/processes.ts";
import { grpcMessage } from "./load/grpc-message.ts";
import { LOAD_CPU } from "./machine.ts";
import { startNginx } from "./peers/nginx.ts";
import { BODY_BYTES, MIB } from "./workload.ts";

/** `http`: 1 KiB, `…/mib` 1 MiB, `/ping`; `grpc`: any unary call over HTTP/2 in clear; `sink`: takes a body in and answers when it is whole. */
export type OriginName = "http" | "grpc" | "sink";

export interface Origins {
  readonly ports: Readonly<Record<OriginName, number>>;
  /** By name, for rows that measure an origin without a proxy. */
  readonly processes: Readonly<Record<OriginName, Running>>;
  stop(): Promise<void>;
}

/** With nginx's own header fields, an answer to `/ping` is about 1 KiB on the wire. */
export const PING_BODY_BYTES = 864;

export async function startOrigins(directory: string, firstPort: number): Promise<Origins> {
  const ports = { http: firstPort, grpc: firstPort + 1, sink: firstPort + 2 };
  for (const port of Object.values(ports)) {
    if (await accepts(port)) throw new Error(`port ${port}, for an origin, is taken: is another bench running?`);
  }
  const nginx = await startOrigin(directory, ports.http, ports.grpc);
  const sink = start("upload origin", [process.execPath, SINK, String(ports.sink)], { cpus: LOAD_CPU });
  const stop = async () => {
    await Promise.all([nginx.stop(), sink.stop()]);
  };
  try {
    await untilPort(sink, ports.sink);
  } catch (error) {
    await stop();
    throw error;
  }
  return { ports, processes: { http: nginx, grpc: nginx, sink }, stop };
}

const SINK = fileURLToPath(new URL("./load/sink.ts", import.meta.url));

/** @param grpcPort left out: plain HTTP alone. */
export async function startOrigin(directory: string, port: number, grpcPort?: number): Promise<Running> {
  const home = join(directory, `origin-${port}`);
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "mib.bin"), Buffer.alloc(MIB, "x"));
  writeFileSync(join(home, "reply.bin"), grpcMessage("a reply of the size that a small call has"));
  const http = `server {
  listen 127.0.0.1:${port} backlog=4096; default_type text/plain; root ${home}; open_file_cache max=10 inactive=1h;
  location / { return 200 "${"x".repeat(BODY_BYTES)}"; }
  location = /ping { return 200 "${"x".repeat(PING_BODY_BYTES)}"; }
  location ~ /mib$ { try_files /mib.bin =404; }
}`;
  // nginx answers POST with a file only as the page of an error; the trailer makes it a unary answer.
  const grpc = `server {
  listen 127.0.0.1:${grpcPort} http2 backlog=4096; default_type application/grpc; root ${home}; open_file_cache max=10 inactive=1h;
  http2_max_concurrent_streams 1024;
  location / { error_page 405 =200 /reply.bin; try_files /reply.bin =404; }
  location = /reply.bin { error_page 405 =200 /reply.bin; add_trailer grpc-status 0 always; types { } default_type application/grpc; }
}`;
  return await startNginx({
    name: "origin",
    directory: home,
    port,
    cpus: LOAD_CPU,
    http: `access_log off; ${http} ${grpcPort === undefined ? "" : grpc}`,
  });
}
