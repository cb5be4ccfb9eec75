/**
 * Ports that several threads, or a gateway and the one that takes over from it, listen on at the same time: each has a socket of its own, and the kernel
 * spreads connections over them (SO_REUSEPORT). It lets any process of this user join in, so whether a stranger has the port is found out before.
 */
import { fstatSync } from "node:fs";
import { createServer, Server } from "node:net";
import { AcceptQueue, isListenedOn } from "./accept-queue.ts";

/** Where the kernel spreads connections; elsewhere asking for it is an error. */
export const SHARES_PORTS = process.platform === "linux" || process.platform === "freebsd";

/** Where somebody else gets the new connections: long enough for one whose handshake had begun before, over any distance. */
export const HANDSHAKE_QUIET_MS = 1000;
/** How long a moment is looked for at which nobody waits to be accepted. */
const QUEUE_EMPTY_MS = 1000;
/** How often at least: a process that stood still for that time has accepted nobody meanwhile. */
const QUEUE_EMPTY_TURNS = 10;

/**
 * Somebody listens there already: a socket that does not ask to share says so. Where the system tells that nobody does none is opened, for whoever
 * connected to it would be cut off at once.
 */
export function isBusy(host: string, port: number): Promise<boolean> {
  if (isListenedOn(port) === false) return Promise.resolve(false);
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: Error & { code?: string }) => resolve(error.code === "EADDRINUSE"));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(false)));
  });
}

/**
 * Stops accepting at a moment at which nobody waits to be accepted: whom the kernel has told that he is connected is served. It takes a moment to find,
 * QUEUE_EMPTY_MS at most while the process gets its turns.
 *
 * @param wanted asked again after each look: false calls it off
 */
export async function closeUnnoticed(server: Server, wanted: () => boolean = () => true): Promise<void> {
  const address = server.address();
  if (typeof address !== "object" || address === null) return;
  const giveUpMs = performance.now() + QUEUE_EMPTY_MS;
  const fd = descriptorOf(server);
  const queue = new AcceptQueue(address.port, fd === undefined ? undefined : fstatSync(fd).ino);
  // The first look takes long, the next ones do not.
  queue.waiting();
  const looks = (turns: number): boolean => turns < QUEUE_EMPTY_TURNS || performance.now() < giveUpMs;
  for (let turns = 0; wanted() && looks(turns) && (queue.waiting() ?? 0) > 0; turns += 1) await nextTurn();
  // Not `server.close`: that of an HTTP server ends connections that have come and not asked yet.
  if (wanted()) Server.prototype.close.call(server);
}

/** Undefined where this Node does not tell the file descriptor of a server. */
export function descriptorOf(server: Server): number | undefined {
  const { _handle: handle } = server as Server & { readonly _handle?: { readonly fd?: unknown } | null };
  return typeof handle?.fd === "number" && handle.fd >= 0 ? handle.fd : undefined;
}

/** Whoever waits by now to be accepted or read is, before it resolves. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
