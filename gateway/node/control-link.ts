/** The gRPC side of the control stream: one connection to one control plane, with its authority pinned. Knows no snapshots. */
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { CONTROL_PLANE_NAME } from "../core/identity/index.ts";
import {
  create,
  type EnrolRequest,
  EnrolRequestSchema,
  type EnrolResponse,
  type GrpcMethod,
  grpcDefinition,
  SnapshotService,
  type SubscribeRequest,
  SubscribeRequestSchema,
  type SubscribeResponse,
} from "../wire/proto/index.ts";

/** Largest message taken from the control plane: a chunk at its limit and room for its envelope. */
export const MAX_CONTROL_MESSAGE_BYTES = 16 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 5_000;

const methods = grpcDefinition(SnapshotService, (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));

export interface LinkEvents {
  /** The control plane took the credential. */
  opened(): void;
  received(message: SubscribeResponse["message"]): void;
  /** The stream is over: why, and whether the credential was refused. */
  closed(reason: string, unauthenticated: boolean): void;
}

export class ControlLink {
  readonly #client: Client;
  #stream: ClientDuplexStream<SubscribeRequest, SubscribeResponse> | undefined;

  /** @param address `host:port`. @param ca PEM of the authority that the control plane's certificate must come from. */
  constructor(address: string, ca: string) {
    this.#client = new Client(address, credentials.createSsl(Buffer.from(ca)), {
      "grpc.max_receive_message_length": MAX_CONTROL_MESSAGE_BYTES,
      "grpc.keepalive_time_ms": 10_000,
      "grpc.keepalive_timeout_ms": 5_000,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.use_local_subchannel_pool": 1,
      "grpc.ssl_target_name_override": CONTROL_PLANE_NAME,
      "grpc.default_authority": CONTROL_PLANE_NAME,
    });
  }

  /** @throws Error with the control plane's reason. */
  async enrol(request: Omit<EnrolRequest, "$typeName" | "$unknown">): Promise<EnrolResponse> {
    const method = methodOf("enrol");
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        create(EnrolRequestSchema, request),
        { deadline: Date.now() + CONNECT_TIMEOUT_MS },
        (error: ServiceError | null, response?: object) => {
          if (error !== null) reject(new Error(error.details || error.message));
          else resolve(response as EnrolResponse);
        },
      );
    });
  }

  subscribe(credential: string, events: LinkEvents): void {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${credential}`);
    const method = methodOf("subscribe");
    const stream = this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      metadata,
      {},
    );
    this.#stream = stream as ClientDuplexStream<SubscribeRequest, SubscribeResponse>;
    let over = false;
    const closed = (reason: string, unauthenticated: boolean) => {
      if (over) return;
      over = true;
      events.closed(reason, unauthenticated);
    };
    stream.on("metadata", () => events.opened());
    stream.on("data", (message: SubscribeResponse) => events.received(message.message));
    stream.on("error", (error: ServiceError) => closed(error.details || error.message, error.code === status.UNAUTHENTICATED));
    stream.on("end", () => closed("the control plane ended the stream", false));
  }

  send(message: SubscribeRequest["message"]): void {
    this.#stream?.write(create(SubscribeRequestSchema, { message }));
  }

  close(): void {
    this.#stream?.cancel();
    this.#client.close();
  }
}

function methodOf(name: string): GrpcMethod<Buffer> {
  const method = methods[name];
  if (method === undefined) throw new TypeError(`the protocol has no method ${name}`);
  return method;
}
