/** gRPC's health protocol, as a client. */
import type { ConnectionOptions } from "node:tls";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import type { HealthProbe } from "../core/ir/index.ts";
import type { ProbedEndpoint } from "./health-probe.ts";

/** `grpc.health.v1.Health/Check`. Its two messages have one field each, so they are written and read here. */
export async function askGrpc(
  target: ProbedEndpoint,
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
