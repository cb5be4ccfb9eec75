/** h2load: HTTP/2, closed loop, one thread. Of latency it tells mean and extremes only, so there is no percentile. */
import { join } from "node:path";
import { checkHttp2 } from "./check.ts";
import { type Generator, type Load, Trouble } from "./generator.ts";

export const CONNECTIONS = 8;
export const STREAMS = 10;
/** Name of the payload file in the run's directory. */
export const GRPC_REQUEST_FILE = "grpc-request.bin";

export interface H2loadOptions {
  readonly path: string;
  readonly tls: boolean;
  /** A unary call with a small message; otherwise GET. */
  readonly grpc?: boolean;
}

export function h2load({ path, tls, grpc = false }: H2loadOptions): Generator {
  return {
    name: "h2load",
    needs: ["h2load"],
    check: async (port) => await checkHttp2({ port, path, tls, grpc }),
    command: (port, seconds, directory) => [
      ...["h2load", "-t1", `-c${CONNECTIONS}`, `-m${STREAMS}`, "-D", String(seconds)],
      ...(grpc ? ["-d", join(directory, GRPC_REQUEST_FILE), "-H", "content-type: application/grpc", "-H", "te: trailers"] : []),
      `${tls ? "https" : "http"}://127.0.0.1:${port}${path}`,
    ],
    read: readH2load,
  };
}

export function readH2load(output: string): Load {
  const counts = /(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(output);
  const codes = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(output);
  if (counts === null || codes === null) throw new Trouble(`no figures: ${output.trim().slice(-500)}`);
  const done = Number(counts[2]);
  const wrong = [counts[3], counts[4], counts[5], codes[2], codes[3], codes[4]];
  if (wrong.some((count) => count !== "0")) throw new Trouble(`${counts[0]}; ${codes[0]}`);
  if (done === 0) throw new Trouble("no request was answered");
  return { done, rate: Number(/([\d.]+) req\/s/.exec(output)?.[1] ?? 0) };
}
