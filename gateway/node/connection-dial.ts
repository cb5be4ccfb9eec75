/** One connection to an endpoint for one client's bytes alone: plain or in TLS, with a PROXY header in front where the cluster wants one. */
import { connect, type Socket, type SocketConstructorOpts } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { DialStep, UpstreamEndpoint, UpstreamTarget } from "../core/index.ts";
import type { ClientTls } from "../core/ir/index.ts";
import { ok, type Result } from "../core/result.ts";
import { systemClock } from "./clock.ts";
import type { OriginContexts, OriginTls } from "./upstream/tls.ts";

/** All plain sockets dialled here read into this; nobody keeps a view of it beyond the call it came with. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

export interface DialEvents {
  /** Bytes that must not be kept. */
  read(bytes: Uint8Array): void;
  /** Connected, and the certificate is in order where there is one. */
  ready(): void;
}

/** @param header written before anything else, in clear. @returns why nothing was started, for want of usable files */
export function dial(
  { target }: DialStep,
  header: Uint8Array | undefined,
  origins: OriginContexts,
  events: DialEvents,
): Result<Socket, string> {
  const { endpoint, pool } = target;
  const place = { host: endpoint.address, port: endpoint.port, noDelay: true, allowHalfOpen: true };
  const origin = originOf(target, origins);
  const options = origin?.options();
  if (options?.ok === false) return options;
  const socket = options === undefined ? dialPlain(place, header, events) : dialTls(place, header, origin, options.value, events);
  if (pool.keepAlive !== undefined) {
    const { idleMs, intervalMs, probes } = pool.keepAlive;
    socket.setKeepAlive(true, idleMs, intervalMs, probes);
  }
  return ok(socket);
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly noDelay: boolean;
  readonly allowHalfOpen: boolean;
}

function dialPlain(place: Place, header: Uint8Array | undefined, events: DialEvents): Socket {
  const read = (bytes: Uint8Array): void => events.read(bytes);
  const onread: NonNullable<SocketConstructorOpts["onread"]> = {
    buffer: READ_BUFFER,
    callback: (length, buffer) => {
      systemClock.during(read, buffer.subarray(0, length));
      return true;
    },
  };
  const socket = connect({ ...place, onread });
  socket.once("connect", () => events.ready());
  if (header !== undefined) socket.write(header);
  return socket;
}

function dialTls(
  place: Place,
  header: Uint8Array | undefined,
  origin: OriginTls | undefined,
  options: ConnectionOptions,
  events: DialEvents,
): Socket {
  const below = header === undefined ? undefined : connect(place);
  if (below !== undefined && header !== undefined) below.write(header);
  // What is carried is nobody's business: no application protocol is offered.
  const { ALPNProtocols: _http, ...rest } = options;
  const session = origin?.session;
  const socket = connectTls({
    ...(below === undefined ? place : { socket: below, allowHalfOpen: true }),
    ...rest,
    ...(session === undefined ? {} : { session }),
  });
  socket.once("secureConnect", () => events.ready());
  socket.on("session", (fresh) => {
    if (origin !== undefined) origin.session = fresh;
  });
  socket.on("data", (bytes: Buffer) => events.read(bytes));
  return socket;
}

interface KnownOrigin {
  readonly tls: ClientTls;
  readonly origin: OriginTls;
}

/** What is made of an endpoint's TLS settings lives as long as the endpoint and they. */
const known = new WeakMap<UpstreamEndpoint, KnownOrigin>();

function originOf({ endpoint, tls }: UpstreamTarget, origins: OriginContexts): OriginTls | undefined {
  if (tls === undefined) return undefined;
  const before = known.get(endpoint);
  if (before?.tls === tls) return before.origin;
  const origin = origins.towards(tls, endpoint.hostname ?? endpoint.address, "");
  known.set(endpoint, { tls, origin });
  return origin;
}
