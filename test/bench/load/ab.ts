/** ab (apache2-utils): a new TLS connection for every request, none of them resumed, because each has a session of its own. */
import { checkHttp1 } from "./check.ts";
import { type Generator, type Load, Trouble } from "./generator.ts";

const CONNECTIONS = 16;
/** More than can be made in the time: the time ends the run. */
const ENOUGH_REQUESTS = 100_000_000;

export function ab({ path, bytes }: { readonly path: string; readonly bytes: number }): Generator {
  return {
    name: "ab",
    needs: ["ab"],
    check: async (port) => await checkHttp1({ port, path, tls: true, headers: {}, expect: { bytes } }),
    command: (port, seconds) => [
      ...["ab", "-q", "-c", String(CONNECTIONS), "-t", String(seconds), "-n", String(ENOUGH_REQUESTS)],
      `https://127.0.0.1:${port}${path}`,
    ],
    read: readAb,
  };
}

export function readAb(output: string): Load {
  const figure = (name: string) => Number(new RegExp(`^${name}:\\s+([\\d.]+)`, "m").exec(output)?.[1] ?? 0);
  const done = figure("Complete requests");
  const failed = figure("Failed requests");
  const refused = figure("Non-2xx responses");
  if (failed + refused > 0) throw new Trouble(`${failed} requests failed, ${refused} were not answered with 2xx`);
  if (done === 0) throw new Trouble(`no request was answered: ${output.trim().slice(-500)}`);
  const share = (percent: number) => Number(new RegExp(`^\\s+${percent}%\\s+(\\d+)`, "m").exec(output)?.[1] ?? 0);
  return { done, rate: figure("Requests per second"), p50Ms: share(50), p99Ms: share(99) };
}
