/**
 * Lines to a file or to standard output, in large writes, never waited for.
 *
 * What cannot be written fast enough is dropped and counted rather than held without bound: a slow disk must not slow requests or eat the memory.
 */
import { close, open, write } from "node:fs";
import { writeLatin1 } from "./latin1.ts";

/** A batch is written when it has no room for the next line, or this long after its first line. */
const BATCH_BYTES = 64 * 1024;
const BATCH_MS = 200;
/** Lines beyond this much unwritten text are dropped. */
export const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const STDOUT = 1;

export class LogFile {
  readonly #problem: (message: string) => void;
  #path: string | undefined;
  #fd: number | undefined;
  #opening = false;
  /** Full batches that wait for their turn. */
  readonly #full: Buffer[] = [];
  #fullBytes = 0;
  #batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #length = 0;
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
    const { length } = line;
    if (this.#fullBytes + this.#length + length > MAX_PENDING_BYTES) {
      this.#dropped += 1;
      return;
    }
    if (this.#length + length > BATCH_BYTES) {
      this.#seal();
      this.#write();
    }
    if (length > BATCH_BYTES) {
      this.#full.push(Buffer.from(line, "latin1"));
      this.#fullBytes += length;
      this.#write();
      return;
    }
    this.#length += writeLatin1(this.#batch, line, this.#length);
    if (this.#timer === undefined && !this.#writing) this.#timer = setTimeout(() => this.#due(), BATCH_MS);
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

  /** What has been gathered is a batch now, and the next lines begin another one. */
  #seal(): void {
    if (this.#length === 0) return;
    this.#full.push(this.#batch.subarray(0, this.#length));
    this.#fullBytes += this.#length;
    this.#batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
    this.#length = 0;
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
