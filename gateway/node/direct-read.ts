/**
 * Reads accepted sockets into one buffer of the thread's, as `net.connect` and `tls.connect` do for outgoing ones with their `onread` option: without it
 * each read costs a fresh buffer and a round through the readable stream. Servers have no such option. So the handle of a plain socket is put under a new
 * one that was made with it, and a TLS socket, which cannot be made anew, is given what the option would have set; where this Node has no such things,
 * reads come the usual way.
 */
import { Socket, type SocketConstructorOpts } from "node:net";
import { TLSSocket } from "node:tls";
import { systemClock } from "./clock.ts";

/** What is read is valid only during the call that brings it. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

interface Accepted {
  _handle?: unknown;
  /** The server that counts it among its connections. */
  _server?: unknown;
  /** Where the option is kept, under symbols that are the library's own. */
  [option: symbol]: unknown;
}

interface ReadableHandle {
  useUserBuffer(buffer: Uint8Array): void;
}

/** Called with what came; whether to go on reading. */
type ReadCallback = (length: number, buffer: Uint8Array) => boolean;

const OPTION_SYMBOLS = Object.getOwnPropertySymbols(new Socket());
const BUFFER = OPTION_SYMBOLS.find(({ description }) => description === "kBuffer");
const CALLBACK = OPTION_SYMBOLS.find(({ description }) => description === "kBufferCb");

/**
 * To be called before anybody else listens to the socket. What was read of it and put back (`unshift`) comes first, in the next tick.
 * @returns the socket to go on with; `read` gets bytes that it must not keep
 */
export function readInto(accepted: Socket, read: (bytes: Uint8Array) => void): Socket {
  const inner = accepted as Socket & Accepted;
  const handle = handleOf(inner);
  const callback: ReadCallback = (length, buffer) => {
    systemClock.during(read, buffer.subarray(0, length));
    return true;
  };
  const how = handle === undefined ? undefined : HOW.get(Object.getPrototypeOf(accepted));
  if (handle === undefined || how === undefined) {
    accepted.on("data", read);
    return accepted;
  }
  const early = accepted.readableLength === 0 ? null : (accepted.read() as Buffer | null);
  const socket = how(inner, handle, callback);
  if (early !== null) process.nextTick(read, early);
  return socket;
}

function madeAnew(accepted: Socket & Accepted, handle: object, callback: ReadCallback): Socket {
  const { _server: server, allowHalfOpen } = accepted;
  accepted._handle = null;
  accepted._server = null;
  const options: Omit<SocketConstructorOpts, "handle"> & { readonly handle: object } = {
    handle,
    allowHalfOpen,
    onread: { buffer: READ_BUFFER, callback },
  };
  const socket = new Socket(options as SocketConstructorOpts) as Socket & Accepted;
  socket._server = server;
  return socket;
}

/** Undefined: this Node keeps the option elsewhere. */
const withOption =
  BUFFER === undefined || CALLBACK === undefined
    ? undefined
    : (accepted: Socket & Accepted, handle: ReadableHandle, callback: ReadCallback): Socket => {
        accepted[BUFFER] = READ_BUFFER;
        accepted[CALLBACK] = callback;
        handle.useUserBuffer(READ_BUFFER);
        return accepted;
      };

const HOW: ReadonlyMap<
  unknown,
  ((accepted: Socket & Accepted, handle: ReadableHandle, callback: ReadCallback) => Socket) | undefined
> = new Map([
  [Socket.prototype, madeAnew],
  [TLSSocket.prototype, withOption],
]);

function handleOf({ _handle: handle }: Accepted): ReadableHandle | undefined {
  return typeof handle === "object" && handle !== null && "useUserBuffer" in handle ? (handle as ReadableHandle) : undefined;
}
