/**
 * How a gateway process lets the next one take over: over a Unix socket in the state directory.
 *
 *     successor                                  predecessor
 *     hello ───────────────────────────────────►
 *           ◄─────────────────────────────────── welcome   (which ports it has, or why not)
 *     … opens the same ports and serves …
 *     release ─────────────────────────────────►           lets its state directory go
 *           ◄─────────────────────────────────── released
 *     … owns the state directory …               … lets its ports go …
 *           ◄─────────────────────────────────── closed
 *                                                … finishes its requests and ends …
 *
 * Whoever may open the socket may end the gateway: it lies in a directory of the gateway's user, with mode 0600. A successor that goes away before
 * `release` has changed nothing. A socket that nobody answers at is what a crash left, and is replaced.
 */
import { chmodSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

const SOCKET = "handover.sock";
/** Longest line that either side reads. */
export const MAX_HANDOVER_LINE_BYTES = 256 * 1024;
/** A predecessor that says nothing for so long is none to take over from. */
const WELCOME_MS = 5_000;
/** The predecessor writes what it is at to the disk. */
const RELEASE_MS = 10_000;
/** The predecessor lets its ports go. */
const CLOSE_MS = 20_000;
/** sun_path of unix(7), with its end. */
const MAX_SOCKET_PATH_BYTES = 107;

/** What a gateway tells the one that wants to follow it. */
export interface Handing {
  readonly gatewayId: string;
  /** How many sockets it has for each `address:port` that it listens on, side doors included. */
  readonly sockets: Readonly<Record<string, number>>;
  /** Version of the snapshot that it serves. */
  readonly version: string | undefined;
}

type Said =
  | { readonly kind: "hello"; readonly gatewayId: string; readonly pid: number }
  | ({ readonly kind: "welcome"; readonly pid: number } & Handing)
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "release" | "released" | "closed" };

/** The gateway before this one, which still serves. */
export class Predecessor {
  readonly pid: number;
  readonly handing: Handing;
  readonly #line: Line;

  private constructor(line: Line, pid: number, handing: Handing) {
    this.#line = line;
    this.pid = pid;
    this.handing = handing;
  }

  /**
   * @returns undefined: nobody runs with this state directory
   * @throws Error with the reason when somebody does and cannot be followed
   */
  static async seek(directory: string, gatewayId: string): Promise<Predecessor | undefined> {
    const path = join(directory, SOCKET);
    const socket = await dial(path);
    if (socket === undefined) return undefined;
    const line = new Line(socket);
    line.say({ kind: "hello", gatewayId, pid: process.pid });
    const said = await line.heard(WELCOME_MS);
    if (said?.kind === "welcome") return new Predecessor(line, said.pid, said);
    line.close();
    if (said?.kind === "refused") throw new Error(`the gateway that runs with state directory ${directory} ${said.reason}`);
    throw new Error(`the gateway that runs with state directory ${directory} does not answer at ${path}: end it first`);
  }

  /** Serves still. It ends its requests and goes once it is told. @returns false: it was gone already, or took too long */
  async release(): Promise<boolean> {
    this.#line.say({ kind: "release" });
    const said = await this.#line.heard(RELEASE_MS);
    return said?.kind === "released";
  }

  /** Resolves when it listens no more, or has gone. */
  async closed(): Promise<void> {
    await this.#line.heard(CLOSE_MS);
    this.#line.close();
  }
}

export interface HandoverHost {
  handing(): Promise<Handing>;
  /** Lets go of the state directory. */
  release(): Promise<void>;
  /** Lets go of all ports. What is left after that is to finish what has begun. */
  letGo(successor: number): Promise<void>;
}

/** Where the next gateway asks. One successor at a time. */
export class HandoverDoor {
  readonly #host: HandoverHost;
  readonly #server: Server;
  #successor: Line | undefined;
  #released = false;

  private constructor(host: HandoverHost) {
    this.#host = host;
    this.#server = createServer((socket) => void this.#serve(new Line(socket)));
  }

  /** From here on the state directory's next gateway is led here. @throws Error when the socket cannot be made */
  static async open(directory: string, host: HandoverHost): Promise<HandoverDoor> {
    const door = new HandoverDoor(host);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Made beside its place and moved there: nobody finds it unprotected, and closing it later removes no successor's.
    const own = join(directory, `${SOCKET}.${process.pid}`);
    const path = join(directory, SOCKET);
    if (Buffer.byteLength(own) > MAX_SOCKET_PATH_BYTES)
      throw new Error(`${own} is longer than the ${MAX_SOCKET_PATH_BYTES} bytes of a socket's path: give a shorter --state`);
    rmSync(own, { force: true });
    await new Promise<void>((resolve, reject) => door.#server.once("error", reject).listen(own, resolve));
    chmodSync(own, 0o600);
    renameSync(own, path);
    door.#server.unref();
    return door;
  }

  close(): void {
    this.#server.close();
  }

  async #serve(line: Line): Promise<void> {
    const hello = await line.heard(WELCOME_MS);
    if (hello?.kind !== "hello") return line.close();
    const handing = await this.#host.handing();
    const { gatewayId } = handing;
    if (hello.gatewayId !== gatewayId) return line.refuse(`is ${gatewayId}, not ${hello.gatewayId}: give another --state`);
    if (this.#released || this.#successor?.open === true) return line.refuse("is being followed by another one already");
    this.#successor = line;
    line.say({ kind: "welcome", pid: process.pid, ...handing });
    const said = await line.heard();
    if (said?.kind === "release") {
      this.#released = true;
      await this.#host.release();
      line.say({ kind: "released" });
      await this.#host.letGo(hello.pid);
      line.say({ kind: "closed" });
    }
    line.close();
  }
}

/** One connection between the two: JSON, a line each. */
class Line {
  readonly #socket: Socket;
  #text = "";
  #open = true;
  #waiting: ((said: Said | undefined) => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      this.#text += text;
      if (this.#text.length > MAX_HANDOVER_LINE_BYTES) socket.destroy();
      else this.#tell();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#open = false;
      this.#waiting?.(undefined);
    });
  }

  get open(): boolean {
    return this.#open;
  }

  say(said: Said): void {
    this.#socket.write(`${JSON.stringify(said)}\n`);
  }

  refuse(reason: string): void {
    this.say({ kind: "refused", reason });
    this.close();
  }

  /** What the other one says next; undefined: it has gone, says nothing for `withinMs`, or nothing that makes sense. */
  heard(withinMs?: number): Promise<Said | undefined> {
    return new Promise((resolve) => {
      const timer = withinMs === undefined ? undefined : setTimeout(() => this.#waiting?.(undefined), withinMs);
      this.#waiting = (said) => {
        clearTimeout(timer);
        this.#waiting = undefined;
        resolve(said);
      };
      this.#tell();
      if (!this.#open) this.#waiting?.(undefined);
    });
  }

  close(): void {
    this.#socket.end();
  }

  #tell(): void {
    const end = this.#text.indexOf("\n");
    if (end === -1 || this.#waiting === undefined) return;
    const said = readSaid(this.#text.slice(0, end));
    this.#text = this.#text.slice(end + 1);
    this.#waiting(said);
  }
}

function readSaid(line: string): Said | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { kind, gatewayId, pid, sockets, version, reason } = value as Record<string, unknown>;
  switch (kind) {
    case "hello":
      return typeof gatewayId === "string" && typeof pid === "number" ? { kind, gatewayId, pid } : undefined;
    case "welcome":
      if (typeof gatewayId !== "string" || typeof pid !== "number" || !areCounts(sockets)) return undefined;
      return { kind, gatewayId, pid, sockets, version: typeof version === "string" ? version : undefined };
    case "refused":
      return { kind, reason: String(reason) };
    case "release":
    case "released":
    case "closed":
      return { kind };
    default:
      return undefined;
  }
}

function areCounts(value: unknown): value is Readonly<Record<string, number>> {
  return typeof value === "object" && value !== null && Object.values(value).every((count) => Number.isSafeInteger(count));
}

/** Undefined: there is no such socket, or nobody listens at it any more. */
function dial(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once("connect", () => resolve(socket.removeAllListeners("error")));
    socket.once("error", (error: Error & { code?: string }) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED" || error.code === "ENOTDIR") resolve(undefined);
      else reject(new Error(`${path}: ${error.message}: give a state directory of this user with --state`));
    });
  });
}
