/**
 * How many connections the kernel has made for a port that nobody has accepted yet. Closing a listening socket resets those, and their clients have
 * been told that they are connected; so a port is closed at a moment when there are none.
 */
import { closeSync, openSync, readSync } from "node:fs";

/** Listening sockets come first in these tables; no more of one than this is read, which is thousands of them. */
export const MAX_TABLE_BYTES = 1024 * 1024;
/** One read gives no more, however much is asked for. */
const PAGE_BYTES = 4096;
const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];
const LISTEN = "0A";
/** In the line above them all. */
const HEADING = "st";

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
      const size = this.#sizes.get(path);
      if (size === 0) continue;
      let found = this.#count(path, size ?? MAX_TABLE_BYTES);
      // Others that have come meanwhile may stand before it.
      if (found.size === 0 && size !== undefined) found = this.#count(path, MAX_TABLE_BYTES);
      this.#sizes.set(path, found.size);
      if (found.size > 0) waiting = (waiting ?? 0) + found.waiting;
    }
    return waiting;
  }

  #count(path: string, size: number): ReturnType<typeof countWaiting> {
    return countWaiting(readHead(path, size), this.#port, this.#inode);
  }
}

/** Whether any socket listens on the port, at whatever address; undefined where the system does not tell. */
export function isListenedOn(port: number): boolean | undefined {
  const tables = TABLES.map((path) => readHead(path, MAX_TABLE_BYTES)).filter((table) => table !== "");
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

/** As much of a table as tells of listening sockets, `size` bytes at most; empty where there is no such table. */
function readHead(path: string, size: number): string {
  let fd: number | undefined;
  try {
    fd = openSync(path, "r");
    const page = Buffer.allocUnsafe(PAGE_BYTES);
    let text = "";
    for (let more = true; more && text.length < size; ) {
      const bytes = readSync(fd, page, 0, Math.min(PAGE_BYTES, size - text.length), null);
      text += page.toString("latin1", 0, bytes);
      more = bytes > 0 && endsAmongListening(text);
    }
    return text;
  } catch {
    return "";
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Whether more listening sockets may follow; a read ends at the end of a line, or near the end of what was asked for. */
function endsAmongListening(text: string): boolean {
  const end = text.lastIndexOf("\n");
  const line = text.slice(text.lastIndexOf("\n", end - 1) + 1, end);
  const state = line.trim().split(/\s+/)[3];
  return state === LISTEN || state === HEADING;
}
