import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { Outbox } from "./outbox.ts";

/** Stands in for a socket: takes a write at once, or keeps it as a full kernel buffer would. */
class Sink extends Writable {
  connecting = false;
  readonly chunks: Buffer[] = [];
  readonly held: (() => void)[] = [];
  full = false;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    // What a kernel takes it copies; what it cannot take yet is read later from where it lies.
    this.chunks.push(this.full ? chunk : Buffer.from(chunk));
    if (this.full) this.held.push(done);
    else done();
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }
}

const socketOf = (sink: Sink): Socket => sink as unknown as Socket;

describe("Outbox", () => {
  it("sends a head and the first bytes of a body in one write", () => {
    const [outbox, sink] = [new Outbox(), new Sink()];
    outbox.text(socketOf(sink), "head\r\n");
    outbox.bytes(socketOf(sink), Buffer.from("body"));
    outbox.flush();
    outbox.flush();
    expect(sink.chunks.map(String)).toEqual(["head\r\nbody"]);
  });

  it("loses nothing of what is larger than itself, in whatever pieces it comes", () => {
    for (const size of [65_535, 65_536, 65_537, 200_000]) {
      const [outbox, sink] = [new Outbox(), new Sink()];
      const bytes = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));
      outbox.text(socketOf(sink), "10000\r\n");
      outbox.bytes(socketOf(sink), bytes);
      outbox.text(socketOf(sink), "\r\n");
      outbox.text(socketOf(sink), "y".repeat(size));
      outbox.text(socketOf(sink), "end");
      outbox.flush();
      expect(sink.text === `10000\r\n${bytes.toString("latin1")}\r\n${"y".repeat(size)}end`).toBe(true);
    }
  });

  it("keeps what goes to two sockets apart, in order", () => {
    const [outbox, one, two] = [new Outbox(), new Sink(), new Sink()];
    outbox.text(socketOf(one), "a");
    outbox.text(socketOf(two), "b");
    outbox.text(socketOf(one), "c");
    outbox.flush();
    expect([one.text, two.text]).toEqual(["ac", "b"]);
  });

  it("does not write over what a socket has yet to send", () => {
    const [outbox, slow, quick] = [new Outbox(), new Sink(), new Sink()];
    slow.full = true;
    for (const text of ["first", "second"]) {
      outbox.text(socketOf(slow), text);
      outbox.flush();
      outbox.text(socketOf(quick), "x".repeat(1000));
      outbox.flush();
    }
    slow.full = false;
    for (const done of slow.held) done();
    expect(slow.text).toBe("firstsecond");
  });
});
