/** Opens connections to origins, plain or TLS. */
import { connect, type OnReadOpts, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { ErrorCode } from "../../core/index.ts";
import type { TcpKeepAlive } from "../../core/ir/index.ts";
import { systemClock } from "../clock.ts";

/** All upstream sockets of a thread read into this; nobody keeps a view of it beyond the call it came with. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

/** Where to, and what to remember for the next time. */
export interface DialTarget {
  readonly address: string;
  readonly port: number;
  /** Undefined: plain. */
  readonly tls: ConnectionOptions | undefined;
  /** Last TLS session, to resume. */
  session: Buffer | undefined;
  /** Written before anything else, in clear. */
  readonly header?: Uint8Array | undefined;
  /** Probes while nothing is sent; undefined: what the system does. */
  readonly keepAlive?: TcpKeepAlive | undefined;
}

export interface DialUser {
  /** The connection, with its TLS handshake, stands. */
  connected(): void;
  /** @param bytes valid during this call */
  read(bytes: Uint8Array): void;
}

/** What is written before `connected` waits in the socket. */
export function dial(target: DialTarget, user: DialUser): Socket {
  const socket = target.tls === undefined ? dialPlain(target, user) : dialTls(target, target.tls, user);
  if (target.keepAlive !== undefined) {
    const { idleMs, intervalMs, probes } = target.keepAlive;
    socket.setKeepAlive(true, idleMs, intervalMs, probes);
  }
  return socket;
}

function dialPlain({ address, port, header }: DialTarget, user: DialUser): Socket {
  const socket = connect({ host: address, port, noDelay: true, onread: readFor(user) });
  if (header !== undefined) socket.write(header);
  socket.once("connect", () => user.connected());
  return socket;
}

function dialTls(target: DialTarget, options: ConnectionOptions, user: DialUser): Socket {
  const { address, port, session, header } = target;
  const socket = connectTls({
    ...(header === undefined ? { host: address, port, onread: readFor(user) } : { socket: below(address, port, header) }),
    ...options,
    ...(session === undefined ? {} : { session }),
  });
  // Over a socket of its own TLS knows no `onread`.
  if (header !== undefined) socket.on("data", (bytes: Buffer) => user.read(bytes));
  socket.setNoDelay(true);
  socket.once("secureConnect", () => user.connected());
  socket.on("session", (fresh) => {
    target.session = fresh;
  });
  return socket;
}

/** What TLS is spoken over where something comes before it. */
function below(host: string, port: number, header: Uint8Array): Socket {
  const socket = connect({ host, port });
  socket.write(header);
  return socket;
}

function readFor(user: DialUser): OnReadOpts {
  const read = (bytes: Uint8Array): void => user.read(bytes);
  return {
    buffer: READ_BUFFER,
    callback: (length, buffer) => {
      systemClock.during(read, buffer.subarray(0, length));
      return true;
    },
  };
}

/** Why a connection did not come to stand, by the socket's error. */
export function dialCode(error: (Error & { code?: unknown }) | undefined, tls: boolean): ErrorCode {
  const code = typeof error?.code === "string" ? error.code : "";
  if (code === "ENOTFOUND" || code.startsWith("EAI_")) return "dns_failure";
  if (CONNECT_ERRORS.has(code) || !tls) return "upstream_connect";
  return "upstream_tls";
}

const CONNECT_ERRORS: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "ETIMEDOUT",
  "EMFILE",
  "ENFILE",
]);
