/** wrk: HTTP/1.1, closed loop, one thread. What it says of latency leaves out the requests that it did not send while it waited. */
import { fileURLToPath } from "node:url";
import { checkHttp1, type Expectation } from "./check.ts";
import { type Generator, type Load, Trouble } from "./generator.ts";

export interface WrkOptions {
  readonly path: string;
  readonly tls?: boolean;
  readonly connections: number;
  readonly expect: Expectation;
  readonly headers?: Readonly<Record<string, string>>;
  /** A file beside this one, with its arguments. */
  readonly script?: { readonly file: string; readonly arguments: readonly string[] };
}

export function wrk(options: WrkOptions): Generator {
  const { path, tls = false, connections, expect, headers = {}, script } = options;
  return {
    name: "wrk",
    needs: ["wrk"],
    check: async (port) => await checkHttp1({ port, path, tls, headers, expect }),
    command: (port, seconds) => [
      ...["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--latency"],
      ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
      ...(script === undefined ? [] : ["-s", fileURLToPath(new URL(script.file, import.meta.url))]),
      // wrk sends the host as SNI, also an address, which RFC 6066 3 does not allow.
      tls ? `https://localhost:${port}${path}` : `http://127.0.0.1:${port}${path}`,
      ...(script === undefined ? [] : ["--", ...script.arguments]),
    ],
    read: readWrk,
  };
}

export function readWrk(output: string): Load {
  const trouble = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(output)?.[0];
  if (trouble !== undefined) throw new Trouble(trouble);
  const done = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0);
  if (done === 0) throw new Trouble(`no request was answered: ${output.trim()}`);
  return {
    done,
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? 0),
    ...latency("p50Ms", /50%\s+(\S+)/.exec(output)?.[1]),
    ...latency("p99Ms", /99%\s+(\S+)/.exec(output)?.[1]),
  };
}

/** Of a few requests wrk makes no percentile (`-nan`). */
function latency(name: "p50Ms" | "p99Ms", text = "-nan"): Partial<Load> {
  const value = milliseconds(text);
  return Number.isFinite(value) ? { [name]: value } : {};
}

function milliseconds(text: string): number {
  const value = Number.parseFloat(text);
  if (text.endsWith("us")) return value / 1000;
  if (text.endsWith("ms")) return value;
  return text.endsWith("m") ? value * 60_000 : value * 1000;
}
