/** A load driver that looks at every answer: keep-alive connections, one request at a time on each, paced over all of them. */
import { connect, type Socket } from "node:net";

export interface LoadAnswer {
  readonly status: number;
  /** Lower case, with the line ends. */
  readonly head: string;
  readonly body: string;
}

export interface LoadTarget {
  readonly port: number;
  readonly connections: number;
  /** The request's bytes. */
  readonly request: string;
  /** What was true when the request was sent, handed back with its answer. */
  readonly sent: () => number;
  /** Why the answer is wrong; undefined: it is right. */
  readonly check: (answer: LoadAnswer, sent: number) => string | undefined;
}

export interface LoadFigures {
  readonly requests: number;
  readonly failures: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly slowestMs: number;
}

const TICK_MS = 4;
const KEPT_FAILURES = 20;

export class LoadDriver {
  /** The first failures, as they were told. */
  readonly failed: string[] = [];
  readonly #idle: LoadConnection[] = [];
  readonly #all: LoadConnection[] = [];
  readonly #perSecond: number;
  #credit = 0;
  #requests = 0;
  #failures = 0;
  #slowestMs = 0;
  #startedMs = 0;
  #lastMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(targets: readonly LoadTarget[], perSecond: number) {
    this.#perSecond = perSecond;
    for (const target of targets)
      for (let i = 0; i < target.connections; i += 1) this.#all.push(new LoadConnection(target, this));
  }

  async start(): Promise<void> {
    await Promise.all(this.#all.map((one) => one.open()));
    this.#startedMs = this.#lastMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Counts from here on: what one phase of a test did. */
  takeFigures(): LoadFigures {
    const now = performance.now();
    const seconds = (now - this.#startedMs) / 1000;
    const figures = {
      requests: this.#requests,
      failures: this.#failures,
      seconds,
      perSecond: this.#requests / seconds,
      slowestMs: this.#slowestMs,
    };
    this.#startedMs = now;
    this.#requests = this.#failures = this.#slowestMs = 0;
    return figures;
  }

  /** Sends no more, and waits for the answers on their way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    const until = performance.now() + 5000;
    while (this.#idle.length < this.#all.length && performance.now() < until)
      await new Promise((done) => setTimeout(done, TICK_MS));
    if (this.#idle.length < this.#all.length) this.fail(`${this.#all.length - this.#idle.length} requests got no answer`);
    for (const one of this.#all) one.close();
  }

  fail(why: string): void {
    this.#failures += 1;
    if (this.failed.length < KEPT_FAILURES) this.failed.push(why);
  }

  answered(tookMs: number): void {
    this.#requests += 1;
    if (tookMs > this.#slowestMs) this.#slowestMs = tookMs;
  }

  free(connection: LoadConnection): void {
    if (this.#timer !== undefined && this.#credit >= 1) {
      this.#credit -= 1;
      connection.send();
    } else this.#idle.push(connection);
  }

  /** Credit by the clock, so a late tick makes up for itself; no more than a tenth of a second of it is kept. */
  #tick(): void {
    const now = performance.now();
    this.#credit = Math.min(this.#credit + ((now - this.#lastMs) * this.#perSecond) / 1000, this.#perSecond / 10);
    this.#lastMs = now;
    while (this.#credit >= 1) {
      const connection = this.#idle.shift();
      if (connection === undefined) return;
      this.#credit -= 1;
      connection.send();
    }
  }
}

class LoadConnection {
  readonly #target: LoadTarget;
  readonly #driver: LoadDriver;
  #socket: Socket | undefined;
  #text = "";
  #sent = 0;
  #sentMs = 0;
  #busy = false;
  #closing = false;

  constructor(target: LoadTarget, driver: LoadDriver) {
    this.#target = target;
    this.#driver = driver;
  }

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: this.#target.port, host: "127.0.0.1", noDelay: true });
      this.#socket = socket;
      socket.once("connect", () => {
        this.#driver.free(this);
        resolve();
      });
      socket.on("data", (bytes: Buffer) => this.#read(bytes));
      socket.on("error", reject);
      socket.on("close", () => {
        if (this.#socket === socket) this.#closed();
      });
    });
  }

  send(): void {
    this.#busy = true;
    this.#sent = this.#target.sent();
    this.#sentMs = performance.now();
    this.#socket?.write(this.#target.request, "latin1");
  }

  close(): void {
    this.#closing = true;
    this.#socket?.destroy();
  }

  #read(bytes: Buffer): void {
    this.#text += bytes.toString("latin1");
    const end = this.#text.indexOf("\r\n\r\n");
    if (end === -1) return;
    const head = this.#text.slice(0, end + 2).toLowerCase();
    const length = /\r\ncontent-length: (\d+)\r\n/.exec(head)?.[1];
    if (length === undefined) {
      this.#driver.fail(`an answer without content-length: ${head}`);
      this.close();
      return;
    }
    const size = end + 4 + Number(length);
    if (this.#text.length < size) return;
    const body = this.#text.slice(end + 4, size);
    this.#text = this.#text.slice(size);
    this.#answer({ status: Number(head.slice(9, 12)), head, body });
  }

  #answer(answer: LoadAnswer): void {
    this.#busy = false;
    this.#driver.answered(performance.now() - this.#sentMs);
    const why = this.#target.check(answer, this.#sent);
    if (why !== undefined) this.#driver.fail(`${why}: ${answer.head}${answer.body}`);
    if (answer.head.includes("\r\nconnection: close\r\n")) this.#reopen();
    else this.#driver.free(this);
  }

  /** A server may end a connection between requests, and says so before. */
  #reopen(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#text = "";
    this.open().catch((error: unknown) => this.#driver.fail(`no new connection: ${String(error)}`));
  }

  #closed(): void {
    if (this.#closing) return;
    this.#driver.fail(this.#busy ? "the connection was closed during a request" : "a keep-alive connection was closed");
  }
}
