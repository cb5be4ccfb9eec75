/**
 * The stream's sockets: carries gateways' sessions over gRPC. Decides nothing; session.ts says what to do, enrolment.ts who may.
 */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  ChunkMissingSchema,
  ChunkSchema,
  create,
  type EnrolRequest,
  type EnrolResponse,
  EnrolResponseSchema,
  grpcDefinition,
  ManifestSchema,
  SnapshotService,
  type SubscribeRequest,
  type SubscribeResponse,
  SubscribeResponseSchema,
  TrustRootSchema,
} from "../../gateway/wire/proto/index.ts";
import { EndpointReports, type ReportedEndpoint } from "./endpoint-reports.ts";
import type { Enrolment } from "./enrolment.ts";
import type { ServerIdentity } from "./server-identity.ts";
import { heldBy, type SessionEvent, type SessionState, type SnapshotRef, sameSnapshot, transition } from "./session.ts";

/** What this room needs to know of published snapshots: the reader, not the store. */
export interface SnapshotReader {
  /** The pool's newest snapshot, or undefined when none was published. */
  latest(pool: string): { readonly ref: SnapshotRef; readonly jws: Uint8Array } | undefined;
  chunk(hash: string): Uint8Array | undefined;
  /** Every trust root document in order of version, from `fromVersion` on. */
  trustRoots(fromVersion: number): readonly Uint8Array[];
}

export interface GatewayStatus {
  readonly id: string;
  readonly pool: string;
  readonly connected: boolean;
  readonly state: SessionState;
  readonly lastSeenMs: number;
  readonly software: string;
  /** What it reported about the endpoints that it watches; nothing while it is not connected. */
  readonly endpoints: readonly ReportedEndpoint[];
}

export interface DistributionOptions {
  readonly snapshots: SnapshotReader;
  readonly enrolment: Enrolment;
  readonly identity: ServerIdentity;
  /** Unix ms. */
  readonly now: () => number;
  /** Told after each change of a gateway's state. */
  readonly onChange?: (gateway: GatewayStatus) => void;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** Largest message to a gateway; chunks are kept well below it when they are made. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Largest message from a gateway: an answer with many named problems. */
export const MAX_REQUEST_MESSAGE_BYTES = 1024 * 1024;
/** Chunks one request may ask for. */
export const MAX_FETCH_HASHES = 4096;

type Stream = ServerDuplexStream<SubscribeRequest, SubscribeResponse>;

interface Session {
  readonly id: string;
  readonly pool: string;
  readonly stream: Stream;
  state: SessionState;
  rootVersion: number;
  software: string;
  readonly endpoints: EndpointReports;
  /** What was said last of a snapshot that is partly in force: the same again is not worth a line. */
  partly: string | undefined;
}

export class DistributionServer {
  readonly #options: DistributionOptions;
  readonly #server: Server;
  readonly #sessions = new Map<string, Session>();
  /** Last state of gateways that are gone, so that status can tell what they held and since when. */
  readonly #gone = new Map<string, SessionState>();

  constructor(options: DistributionOptions) {
    this.#options = options;
    this.#server = new Server({
      "grpc.max_receive_message_length": MAX_REQUEST_MESSAGE_BYTES,
      "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
      "grpc.keepalive_time_ms": 10_000,
      "grpc.keepalive_timeout_ms": 5_000,
    });
    const implementation: UntypedServiceImplementation = {
      enrol: ((call: ServerUnaryCall<EnrolRequest, EnrolResponse>, callback: sendUnaryData<EnrolResponse>) =>
        this.#enrol(call.request, callback)) as handleUnaryCall<unknown, unknown>,
      subscribe: ((stream: Stream) => this.#subscribe(stream)) as unknown as handleServerStreamingCall<unknown, unknown>,
    };
    this.#server.addService(
      grpcDefinition(SnapshotService, (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
      implementation,
    );
  }

  /** @returns the port in use. @throws Error naming the address when it cannot be bound. */
  async listen(host: string, port: number): Promise<number> {
    const { ca, certificate, privateKey } = this.#options.identity;
    const credentials = ServerCredentials.createSsl(
      Buffer.from(ca),
      [{ cert_chain: Buffer.from(certificate), private_key: Buffer.from(privateKey) }],
      false,
    );
    // What cannot be done is this room's to say, in one message.
    setLogVerbosity(logVerbosity.NONE);
    const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    return await new Promise((resolve, reject) => {
      this.#server.bindAsync(address, credentials, (error, bound) => {
        // The library wraps what the system said: "No address added out of total 1 resolved errors: [listen EADDRINUSE: …]".
        const reason = error && (/errors: \[(.*)\]$/.exec(error.message)?.[1] ?? error.message);
        if (reason)
          reject(new Error(`snapshots over gRPC: cannot listen on ${address}: ${reason}; choose another port with --grpc-port`));
        else resolve(bound);
      });
    });
  }

  /** A new snapshot of the pool is there: offers it to every gateway of the pool. */
  published(pool: string): void {
    const latest = this.#options.snapshots.latest(pool);
    if (latest === undefined) return;
    for (const session of this.#sessions.values()) {
      if (session.pool === pool) this.#apply(session, { kind: "published", latest: latest.ref });
    }
  }

  status(): GatewayStatus[] {
    return this.#options.enrolment.list().map((gateway) => {
      const session = this.#sessions.get(gateway.id);
      return {
        id: gateway.id,
        pool: gateway.pool,
        connected: session !== undefined,
        state: session?.state ?? this.#gone.get(gateway.id) ?? { kind: "idle", held: gateway.held, sinceMs: gateway.lastSeenMs },
        lastSeenMs: session ? this.#options.now() : gateway.lastSeenMs,
        software: session?.software ?? "",
        endpoints: session?.endpoints.list() ?? [],
      };
    });
  }

  /** Takes a gateway's credential away and ends its stream. @returns false when there is no such gateway. */
  revoke(gatewayId: string): boolean {
    const known = this.#options.enrolment.remove(gatewayId);
    const session = this.#sessions.get(gatewayId);
    if (session !== undefined) refuse(session.stream, status.UNAUTHENTICATED, "this gateway's credential was taken away");
    this.#gone.delete(gatewayId);
    return known;
  }

  /** Ends all streams and stops listening. */
  async close(): Promise<void> {
    for (const session of this.#sessions.values()) session.stream.end();
    await new Promise<void>((resolve) => {
      this.#server.tryShutdown(() => resolve());
      const force = setTimeout(() => {
        this.#server.forceShutdown();
        resolve();
      }, 1000);
      force.unref();
    });
  }

  #enrol(request: EnrolRequest, callback: sendUnaryData<EnrolResponse>): void {
    const outcome = this.#options.enrolment.enrol(request.gatewayId, request.tokenId, request.tokenSecret);
    if (outcome.kind === "refused") {
      this.#options.log("enrolment refused", { gateway: request.gatewayId, reason: outcome.reason });
      callback({ code: status.PERMISSION_DENIED, details: outcome.reason });
      return;
    }
    this.#options.log("gateway enrolled", { gateway: request.gatewayId, pool: outcome.pool });
    const trustRoots = this.#options.snapshots.trustRoots(0).map((root) => Uint8Array.from(root));
    callback(null, create(EnrolResponseSchema, { credential: outcome.credential, pool: outcome.pool, trustRoots }));
  }

  #subscribe(stream: Stream): void {
    const authorization = String(stream.metadata.get("authorization")[0] ?? "");
    const gateway = authorization.startsWith("Bearer ")
      ? this.#options.enrolment.authenticate(authorization.slice(7))
      : undefined;
    if (gateway === undefined) {
      refuse(stream, status.UNAUTHENTICATED, "unknown credential: enrol this gateway with a join token");
      return;
    }
    const session: Session = {
      ...gateway,
      stream,
      state: { kind: "awaiting-hello" },
      rootVersion: 0,
      software: "",
      endpoints: new EndpointReports(),
      partly: undefined,
    };
    this.#sessions.get(gateway.id)?.stream.end();
    this.#sessions.set(gateway.id, session);
    // Tells the gateway that it is connected, although there may be no news for it.
    stream.sendMetadata(new Metadata());
    stream.on("data", (request: SubscribeRequest) => this.#received(session, request));
    const gone = () => this.#closed(session);
    stream.on("end", () => {
      stream.end();
      gone();
    });
    stream.on("cancelled", gone);
    stream.on("error", gone);
    stream.on("close", gone);
  }

  #received(session: Session, request: SubscribeRequest): void {
    const { message } = request;
    switch (message.case) {
      case "hello": {
        session.rootVersion = message.value.rootVersion;
        session.software = message.value.software;
        const latest = this.#options.snapshots.latest(session.pool)?.ref;
        this.#apply(session, { kind: "hello", held: message.value.held && ref(message.value.held), latest });
        return;
      }
      case "fetch":
        this.#sendChunks(session, message.value.hashes);
        return;
      case "ack":
        session.partly = undefined;
        if (message.value.snapshot) this.#apply(session, { kind: "ack", snapshot: ref(message.value.snapshot) });
        return;
      case "nack": {
        const { code, problems, partlyInForce } = message.value;
        // A manifest that could not even be read has no version to name: the answer is about what was offered last.
        const snapshot = message.value.snapshot ? ref(message.value.snapshot) : offeredTo(session.state);
        if (snapshot === undefined) return;
        const detail = { code, problems: problems.map(({ name, reason }) => ({ name, reason })) };
        const version = `${snapshot.epoch}.${snapshot.version}`;
        const told = JSON.stringify(detail);
        if (!partlyInForce) this.#options.log("snapshot refused", { gateway: session.id, version, ...detail });
        else if (told !== session.partly)
          this.#options.log("snapshot partly in force", { gateway: session.id, version, ...detail });
        session.partly = partlyInForce ? told : undefined;
        this.#apply(session, { kind: "nack", snapshot, detail, partlyInForce });
        return;
      }
      case "endpoints":
        session.endpoints.take(message.value, this.#options.now());
        return;
      case undefined:
        return;
    }
  }

  #apply(session: Session, event: SessionEvent): void {
    const next = transition(session.state, event, this.#options.now());
    session.state = next.state;
    if (next.action?.kind === "offer") this.#offer(session);
    if (next.action?.kind === "close") refuse(session.stream, status.FAILED_PRECONDITION, next.action.reason);
    this.#options.enrolment.seen(session.id, heldBy(session.state));
    this.#options.onChange?.(this.#describe(session, true));
  }

  #offer(session: Session): void {
    const latest = this.#options.snapshots.latest(session.pool);
    if (latest === undefined) return;
    for (const document of this.#options.snapshots.trustRoots(session.rootVersion + 1)) {
      session.rootVersion += 1;
      send(session.stream, { case: "trustRoot", value: create(TrustRootSchema, { document: Uint8Array.from(document) }) });
    }
    // The newest may have moved on since the event was made: what is sent and what the state says have to be the same version.
    if (session.state.kind === "offered" && !sameSnapshot(session.state.offered, latest.ref)) {
      session.state = { ...session.state, offered: latest.ref };
    }
    send(session.stream, { case: "manifest", value: create(ManifestSchema, { jws: Uint8Array.from(latest.jws) }) });
  }

  #sendChunks(session: Session, hashes: readonly string[]): void {
    if (hashes.length > MAX_FETCH_HASHES) {
      refuse(session.stream, status.RESOURCE_EXHAUSTED, `more than ${MAX_FETCH_HASHES} chunks asked for at once`);
      return;
    }
    for (const hash of hashes) {
      const content = this.#options.snapshots.chunk(hash);
      if (content === undefined) send(session.stream, { case: "chunkMissing", value: create(ChunkMissingSchema, { hash }) });
      else send(session.stream, { case: "chunk", value: create(ChunkSchema, { hash, content: Uint8Array.from(content) }) });
    }
  }

  #closed(session: Session): void {
    if (this.#sessions.get(session.id) !== session) return;
    this.#sessions.delete(session.id);
    this.#gone.set(session.id, session.state);
    this.#options.enrolment.seen(session.id, heldBy(session.state));
    this.#options.onChange?.(this.#describe(session, false));
  }

  #describe(session: Session, connected: boolean): GatewayStatus {
    const { id, pool, state, software, endpoints } = session;
    return {
      id,
      pool,
      connected,
      state,
      lastSeenMs: this.#options.now(),
      software,
      endpoints: connected ? endpoints.list() : [],
    };
  }
}

function ref(id: { readonly epoch: bigint; readonly version: bigint }): SnapshotRef {
  return { epoch: Number(id.epoch), version: Number(id.version) };
}

function offeredTo(state: SessionState): SnapshotRef | undefined {
  return state.kind === "offered" ? state.offered : undefined;
}

/** Ends a stream with a gRPC status; for a server stream that is what its `error` event is for. */
function refuse(stream: Stream, code: status, details: string): void {
  stream.emit("error", { code, details });
}

function send(stream: Stream, message: SubscribeResponse["message"]): void {
  stream.write(create(SubscribeResponseSchema, { message }));
}
