/** The HTTP question of a health check to an endpoint that speaks HTTP/2. */
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { HealthProbe } from "../core/ir/index.ts";
import type { ProbedEndpoint } from "./health-probe.ts";
import { proxyHeader } from "./upstream/proxy-header.ts";

/** Over TLS it has to agree, without it is taken to know (RFC 9113 3.3). */
export function askHttp2(
  target: ProbedEndpoint,
  { path, host, statuses }: Extract<HealthProbe, { kind: "http" }>,
): Promise<string | undefined> {
  const { check, options } = target;
  const port = check.port ?? target.port;
  const authority = host ?? target.host;
  return new Promise((resolve) => {
    const finish = (failure: string | undefined) => {
      clearTimeout(timer);
      session.destroy();
      resolve(failure);
    };
    const timer = setTimeout(() => finish(`no answer within ${check.timeoutMs} ms`), check.timeoutMs);
    const session = connectHttp2(`${options === undefined ? "http" : "https"}://${authority}`, {
      createConnection: () => connection(target, port),
    });
    session.on("error", (error) => finish(error.message));
    session.on("close", () => finish("the connection was closed"));
    const request = session.request(
      { ":authority": authority, ":path": path, "user-agent": "tidegate-health-check" },
      { endStream: true },
    );
    request.on("error", (error) => finish(error.message));
    request.on("response", ({ ":status": status = 0 }) => {
      finish(statuses.some(([from, to]) => status >= from && status <= to) ? undefined : `status ${status}`);
    });
  });
}

/** For a library that reads and writes itself. */
function connection({ address, options, proxyProtocol }: ProbedEndpoint, port: number): Socket {
  const header = proxyHeader(proxyProtocol);
  const plain = connect({ host: address, port });
  if (header !== undefined) plain.write(header);
  return options === undefined ? plain : connectTls({ socket: plain, ...options });
}
