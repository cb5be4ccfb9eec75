/**
 * Lines to a file or to standard output, in large writes, never waited for.
 *
 * What cannot be written fast enough is dropped and counted rather than held without bound: a slow disk must not slow requests or eat the memory.
 */
import { close, open, write } from "node:fs";
import { asciiJson, type LogOutput } from "../core/index.ts";
import { writeLatin1 } from "./latin1.ts";

/** A batch is written when it has no room for the next line, or this long after its first line. */
const BATCH_BYTES = 64 * 1024;
const BATCH_MS = 200;
/** Lines beyond this much unwritten text are dropped. */
export const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const STDOUT = 1;
const QUOTE = 0x22;
/** What a JSON string holds as it is: ASCII without control characters, quotes and backslashes. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte <= 0x7e && byte !== QUOTE && byte !== 0x5c ? 1 : 0,
);

export class LogFile implements LogOutput {
  readonly #problem: (message: string) => void;
  #path: string | undefined;
  #fd: number | undefined;
  #opening = false;
  /** Full batches that wait for their turn. */
  readonly #full: Buffer[] = [];
  #fullBytes = 0;
  #batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #length = 0;
  /** Where the line begins that is being written. */
  #lineAt = 0;
  #writing = false;
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;
  #idle: (() => void)[] = [];

  /** @param problem told once when the file cannot be opened or written, and again after it could be */
  constructor(problem: (message: string) => void) {
    this.#problem = problem;
  }

  /** Lines dropped since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Where lines go from now on; `-` is standard output. Nothing happens when it is where they go already. */
  target(path: string): void {
    if (path === this.#path) return;
    this.#path = path;
    this.reopen();
  }

  /** Opens the file anew: for rotation by renaming. */
  reopen(): void {
    const before = this.#fd;
    this.#fd = undefined;
    if (before !== undefined && before !== STDOUT) close(before, () => undefined);
    const path = this.#path;
    if (path === undefined) return;
    if (path === "-") {
      this.#fd = STDOUT;
      this.#write();
      return;
    }
    this.#opening = true;
    open(path, "a", 0o640, (error, fd) => {
      this.#opening = false;
      if (path !== this.#path) {
        if (error === null) close(fd, () => undefined);
        return;
      }
      if (error === null) this.#fd = fd;
      else this.#problem(`log file ${path}: ${error.message}; its lines are dropped until it can be opened`);
      this.#write();
    });
  }

  /** @param line of ASCII characters, with its line end */
  add(line: string): void {
    if (!this.begin()) return;
    this.json(line);
    this.end();
  }

  /** Begins a line, whose pieces follow in this very turn. @returns false: too much waits already, and the line is dropped */
  begin(): boolean {
    if (this.#fullBytes + this.#length < MAX_PENDING_BYTES) return true;
    this.#dropped += 1;
    return false;
  }

  json(text: string): void {
    if (this.#length + text.length > this.#batch.length) this.#makeRoom(text.length);
    this.#length += writeLatin1(this.#batch, text, this.#length);
  }

  string(text: string): void {
    if (this.#length + text.length + 2 > this.#batch.length) this.#makeRoom(text.length + 2);
    const batch = this.#batch;
    const start = this.#length + 1;
    const end = start + writeLatin1(batch, text, start);
    for (let i = start; i < end; i++) {
      if (PLAIN[batch[i] as number] === 1) continue;
      this.json(asciiJson(text));
      return;
    }
    batch[start - 1] = QUOTE;
    batch[end] = QUOTE;
    this.#length = end + 1;
  }

  end(): void {
    this.#lineAt = this.#length;
    if (this.#timer === undefined && !this.#writing) this.#timer = setTimeout(() => this.#due(), BATCH_MS);
  }

  /** Whole lines are a batch now; the line that is being written goes on in the next one. */
  #makeRoom(bytes: number): void {
    const begun = this.#batch.subarray(this.#lineAt, this.#length);
    const room = Math.max(BATCH_BYTES, 2 * (begun.length + bytes));
    this.#length = this.#lineAt;
    this.#seal(room);
    this.#batch.set(begun);
    this.#length = begun.length;
    if (this.#full.length > 0) this.#write();
  }

  /** Resolves when everything added so far is written or given up. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#due();
    });
  }

  #due(): void {
    this.#seal();
    this.#write();
  }

  /** What has been gathered is a batch now, and the next lines begin another one, of `room` bytes. */
  #seal(room = BATCH_BYTES): void {
    if (this.#length > 0) {
      this.#full.push(this.#batch.subarray(0, this.#length));
      this.#fullBytes += this.#length;
    } else if (room <= this.#batch.length) return;
    this.#batch = Buffer.allocUnsafeSlow(room);
    this.#length = 0;
    this.#lineAt = 0;
  }

  #write(): void {
    if (this.#writing || this.#opening) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#full.shift();
    if (batch === undefined) {
      if (this.#length > 0 && this.#idle.length > 0) this.#due();
      else if (this.#length > 0) this.#timer = setTimeout(() => this.#due(), BATCH_MS);
      else for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#fullBytes -= batch.length;
    if (this.#fd === undefined) {
      this.#dropBatch(batch);
      return;
    }
    this.#writing = true;
    this.#writeRest(this.#fd, batch);
  }

  #writeRest(fd: number, bytes: Buffer): void {
    write(fd, bytes, (error, written) => {
      if (error !== null && error.code === "EAGAIN") {
        // A pipe that is full for now.
        setTimeout(() => this.#writeRest(fd, bytes), BATCH_MS);
        return;
      }
      if (error !== null) {
        this.#problem(`log ${this.#path}: ${error.message}`);
        this.#writing = false;
        this.#dropBatch(bytes);
        return;
      }
      if (written < bytes.length) {
        this.#writeRest(fd, bytes.subarray(written));
        return;
      }
      this.#writing = false;
      this.#write();
    });
  }

  #dropBatch(bytes: Buffer): void {
    for (const byte of bytes) if (byte === 0x0a) this.#dropped += 1;
    this.#write();
  }
}
