/**
 * How many connections the kernel has made for a port that nobody has accepted yet. Closing a listening socket resets those, and their clients have
 * been told that they are connected; so a port is closed at a moment when there are none.
 */
import { closeSync, openSync, readSync } from "node:fs";

/** Listening sockets come first in these tables. */
const TABLE_BYTES = 64 * 1024;
const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];
const LISTEN = "0A";

/** Looks at one port again and again, and reads no more of the kernel's tables than it must: all of one can take milliseconds. */
export class AcceptQueue {
  readonly #port: number;
  readonly #inode: number | undefined;
  readonly #sizes = new Map<string, number>();

  /** @param inode of the socket that it is about, for others may listen on the same port; undefined: all of them */
  constructor(port: number, inode: number | undefined) {
    this.#port = port;
    this.#inode = inode;
  }

  /** Undefined where the system does not tell (it is Linux that does). */
  waiting(): number | undefined {
    let waiting: number | undefined;
    for (const path of TABLES) {
      const size = this.#sizes.get(path) ?? TABLE_BYTES;
      if (size === 0) continue;
      const found = countWaiting(readHead(path, size), this.#port, this.#inode);
      this.#sizes.set(path, found.size);
      if (found.size > 0) waiting = (waiting ?? 0) + found.waiting;
    }
    return waiting;
  }
}

/** Whether any socket listens on the port, at whatever address; undefined where the system does not tell. */
export function isListenedOn(port: number): boolean | undefined {
  const tables = TABLES.map((path) => readHead(path, TABLE_BYTES)).filter((table) => table !== "");
  if (tables.length === 0) return undefined;
  return tables.some((table) => countWaiting(table, port, undefined).size > 0);
}

/**
 * @param table text in the form of proc(5)'s `/proc/net/tcp`: for a listening socket, `rx_queue` is the number of connections waiting
 * @param inode of one socket; undefined: all of the port
 * @returns how many wait, and how much of the table tells them (0: it has no such socket)
 */
export function countWaiting(
  table: string,
  port: number,
  inode: number | undefined,
): { readonly waiting: number; readonly size: number } {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  let waiting = 0;
  let size = 0;
  let at = 0;
  for (const line of table.split("\n")) {
    at += line.length + 1;
    const [, local, , state, queues, , , , , own] = line.trim().split(/\s+/);
    if (state !== LISTEN || local?.endsWith(suffix) !== true || (inode !== undefined && Number(own) !== inode)) continue;
    waiting += Number.parseInt(queues?.split(":")[1] ?? "0", 16);
    size = at;
  }
  return { waiting, size };
}

function readHead(path: string, size: number): string {
  let fd: number | undefined;
  try {
    fd = openSync(path, "r");
    const buffer = Buffer.allocUnsafe(size);
    return buffer.toString("latin1", 0, readSync(fd, buffer, 0, size, null));
  } catch {
    return "";
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
