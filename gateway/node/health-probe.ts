/** One question to one endpoint, over a connection of its own: HTTP, TCP, or gRPC's health protocol. */
import type { ConnectionOptions } from "node:tls";
import type { HealthProbe } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import { ResponseParser, ResponseParserSettings, writeRequestHead } from "../wire/index.ts";
import type { Probe, ProbeTarget } from "./health.ts";
import { decodeLatin1 } from "./latin1.ts";
import { dial } from "./upstream/dial.ts";
import { proxyHeader } from "./upstream/proxy-header.ts";
import type { OriginContexts } from "./upstream/tls.ts";

/** @param origins by which endpoints are asked over TLS, with the certificates that requests have */
export function probeWith(origins: OriginContexts): Probe {
  return async (endpoint) => {
    try {
      return await ask({ ...endpoint, options: optionsFor(endpoint, origins) });
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
}

/** An endpoint to connect to. */
export interface ProbedEndpoint extends ProbeTarget {
  /** Undefined: plain. */
  readonly options: ConnectionOptions | undefined;
}

function optionsFor(
  { tls, hostname, address, check, isHttp2 }: ProbeTarget,
  origins: OriginContexts,
): ConnectionOptions | undefined {
  if (tls === undefined) return undefined;
  const speaksHttp2 = check.probe.kind === "grpc" || (check.probe.kind === "http" && isHttp2);
  const options = origins.towards(tls, hostname ?? address, speaksHttp2 ? "h2" : "http/1.1").options();
  if (!options.ok) throw new Error(options.error);
  return options.value;
}

/** What speaks HTTP/2 and gRPC is loaded when somebody is to be asked so: they take 6 MB, and most gateways ask nobody. */
async function ask(target: ProbedEndpoint): Promise<string | undefined> {
  const { probe } = target.check;
  switch (probe.kind) {
    case "http": {
      if (!target.isHttp2) return await askHttp(target, probe);
      const { askHttp2 } = await import("./health-probe-http2.ts");
      return await askHttp2(target, probe);
    }
    case "tcp":
      return await connectTo(target, (finish) => ({ connected: () => finish(undefined), read: () => undefined }));
    case "grpc": {
      const { askGrpc } = await import("./health-probe-grpc.ts");
      return await askGrpc(target, probe);
    }
    default:
      return unreachable(probe);
  }
}

type Finish = (failure: string | undefined) => void;
interface Conversation {
  connected(): void;
  read(bytes: Uint8Array): void;
}

/** Connects, and lets `talk` say how it went; whatever comes first of that, an error, the end and the timeout decides. */
function connectTo(
  target: ProbedEndpoint,
  talk: (finish: Finish, write: (text: string) => void) => Conversation,
): Promise<string | undefined> {
  const { address, check, options } = target;
  const port = check.port ?? target.port;
  return new Promise((resolve) => {
    const finish: Finish = (failure) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(failure);
    };
    const timer = setTimeout(() => finish(`no answer within ${check.timeoutMs} ms`), check.timeoutMs);
    const conversation = talk(finish, (text) => socket.write(text, "latin1"));
    const header = proxyHeader(target.proxyProtocol);
    const socket = dial({ address, port, tls: options, session: undefined, header }, conversation);
    socket.on("error", (error) => finish(error.message));
    socket.on("close", () => finish("the connection was closed"));
  });
}

const PARSER = new ResponseParserSettings({ decode: decodeLatin1 });

function askHttp(
  target: ProbedEndpoint,
  { path, host, statuses }: Extract<HealthProbe, { kind: "http" }>,
): Promise<string | undefined> {
  const head = {
    method: "GET",
    scheme: target.tls === undefined ? ("http" as const) : ("https" as const),
    authority: host ?? target.host,
    target: path,
    fields: ["user-agent", "tidegate-health-check"],
    body: { kind: "none" as const },
  };
  const text = writeRequestHead(head, { keepAlive: false });
  return connectTo(target, (finish, write) => {
    const parser = new ResponseParser(PARSER);
    parser.expect("GET");
    return {
      connected: () => write(text),
      read: (bytes) => {
        parser.feed(bytes);
        for (;;) {
          const event = parser.next();
          if (event.kind === "need") return;
          if (event.kind === "error") return finish(`no HTTP: ${event.error.message}`);
          if (event.kind !== "head" || event.head.status < 200) continue;
          const { status } = event.head;
          return finish(statuses.some(([from, to]) => status >= from && status <= to) ? undefined : `status ${status}`);
        }
      },
    };
  });
}
