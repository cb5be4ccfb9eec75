/** One question to one endpoint, over a connection of its own: HTTP, TCP, or gRPC's health protocol. */
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import type { HealthProbe } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import { ResponseParser, ResponseParserSettings, writeRequestHead } from "../wire/index.ts";
import type { Probe, ProbeTarget } from "./health.ts";
import { decodeLatin1 } from "./latin1.ts";
import { dial } from "./upstream/dial.ts";
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
interface Target extends ProbeTarget {
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

function ask(target: Target): Promise<string | undefined> {
  const { probe } = target.check;
  switch (probe.kind) {
    case "http":
      return target.isHttp2 ? askHttp2(target, probe) : askHttp(target, probe);
    case "tcp":
      return connectTo(target, (finish) => ({ connected: () => finish(undefined), read: () => undefined }));
    case "grpc":
      return askGrpc(target, probe);
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
  target: Target,
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
    const socket = dial({ address, port, tls: options, session: undefined }, conversation);
    socket.on("error", (error) => finish(error.message));
    socket.on("close", () => finish("the connection was closed"));
  });
}

const PARSER = new ResponseParserSettings({ decode: decodeLatin1 });

function askHttp(target: Target, { path, host, statuses }: Extract<HealthProbe, { kind: "http" }>): Promise<string | undefined> {
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

/** The same of an endpoint that speaks HTTP/2: over TLS it has to agree, without it is taken to know (RFC 9113 3.3). */
function askHttp2(target: Target, { path, host, statuses }: Extract<HealthProbe, { kind: "http" }>): Promise<string | undefined> {
  const { address, check, options } = target;
  const port = check.port ?? target.port;
  const authority = host ?? target.host;
  return new Promise((resolve) => {
    const finish: Finish = (failure) => {
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

/** `grpc.health.v1.Health/Check`. Its two messages have one field each, so they are written and read here. */
async function askGrpc(
  target: Target,
  { service, authority }: Extract<HealthProbe, { kind: "grpc" }>,
): Promise<string | undefined> {
  const { address, check, tls, options } = target;
  const port = check.port ?? target.port;
  const at = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  const client = new Client(at, options === undefined ? credentials.createInsecure() : secure(options), {
    "grpc.default_authority": authority ?? target.host,
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
    ...(tls?.serverName === undefined ? {} : { "grpc.ssl_target_name_override": tls.serverName }),
  });
  try {
    const status = await new Promise<number>((resolve, reject) => {
      client.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        healthRequest,
        healthStatus,
        service,
        new Metadata(),
        { deadline: Date.now() + check.timeoutMs },
        (error, answer) => (error === null ? resolve(answer ?? 0) : reject(new Error(error.details || error.message))),
      );
    });
    return status === SERVING ? undefined : `gRPC health ${STATUS_NAMES[status] ?? status}`;
  } finally {
    client.close();
  }
}

function secure({ secureContext, checkServerIdentity, rejectUnauthorized }: ConnectionOptions) {
  if (secureContext === undefined) throw new Error("TLS settings make no context");
  return credentials.createFromSecureContext(secureContext, {
    ...(checkServerIdentity === undefined ? {} : { checkServerIdentity }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  });
}

/** `ServingStatus` of the protocol. */
const SERVING = 1;
const STATUS_NAMES: readonly string[] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/** Protobuf: field 1, length-delimited. */
const SERVICE_TAG = 0x0a;
/** Field 1, varint. */
const STATUS_TAG = 0x08;
const LONGEST_SHORT_TEXT = 127;

/** HealthCheckRequest { string service = 1 }. */
export function healthRequest(service: string): Buffer {
  const text = Buffer.from(service, "utf8");
  if (text.length === 0) return Buffer.alloc(0);
  if (text.length > LONGEST_SHORT_TEXT) throw new RangeError(`the service's name is longer than ${LONGEST_SHORT_TEXT} bytes`);
  return Buffer.concat([Buffer.from([SERVICE_TAG, text.length]), text]);
}

/** HealthCheckResponse { ServingStatus status = 1 }: absent is UNKNOWN. Fields that a later version adds come after it. */
export function healthStatus(bytes: Buffer): number {
  return bytes.length >= 2 && bytes[0] === STATUS_TAG ? (bytes[1] ?? 0) : 0;
}
