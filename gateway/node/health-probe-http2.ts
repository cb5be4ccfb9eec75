/** The HTTP question of a health check to an endpoint that speaks HTTP/2. */
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import type { HealthProbe } from "../core/ir/index.ts";
import type { ProbedEndpoint } from "./health-probe.ts";

/** Over TLS it has to agree, without it is taken to know (RFC 9113 3.3). */
export function askHttp2(
  target: ProbedEndpoint,
  { path, host, statuses }: Extract<HealthProbe, { kind: "http" }>,
): Promise<string | undefined> {
  const { address, check, options } = target;
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
      createConnection: () =>
        options === undefined ? connect({ host: address, port }) : connectTls({ host: address, port, ...options }),
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
