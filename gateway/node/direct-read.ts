/**
 * Reads accepted sockets into one buffer of the thread's, as `net.connect` does for outgoing ones with its `onread` option: without it each read
 * costs a fresh buffer and a round through the readable stream. `net.createServer` has no such option, so the accepted handle is put under a socket
 * that has; where this Node has no such handle, or the socket is TLS, reads come the usual way.
 */
import { Socket, type SocketConstructorOpts } from "node:net";

/** What is read is valid only during the call that brings it. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

interface Accepted {
  _handle?: unknown;
  /** The server that counts it among its connections. */
  _server?: unknown;
}

/**
 * To be called before anybody else listens to the socket. What was read of it and put back (`unshift`) comes first, in the next tick.
 * @returns the socket to go on with; `read` gets bytes that it must not keep
 */
export function readInto(accepted: Socket, read: (bytes: Uint8Array) => void): Socket {
  const inner = accepted as Socket & Accepted;
  const { _handle: handle, _server: server } = inner;
  if (
    Object.getPrototypeOf(accepted) !== Socket.prototype ||
    typeof handle !== "object" ||
    handle === null ||
    !("useUserBuffer" in handle)
  ) {
    accepted.on("data", read);
    return accepted;
  }
  const early = accepted.readableLength === 0 ? null : (accepted.read() as Buffer | null);
  inner._handle = null;
  inner._server = null;
  const options: Omit<SocketConstructorOpts, "handle"> & { readonly handle: object } = {
    handle,
    allowHalfOpen: accepted.allowHalfOpen,
    onread: {
      buffer: READ_BUFFER,
      callback: (length, buffer) => {
        read(buffer.subarray(0, length));
        return true;
      },
    },
  };
  const socket = new Socket(options as SocketConstructorOpts);
  (socket as Socket & Accepted)._server = server;
  if (early !== null) process.nextTick(read, early);
  return socket;
}
