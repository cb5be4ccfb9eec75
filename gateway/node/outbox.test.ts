import { describe, expect, it } from "vitest";
import { Outbox } from "./outbox.ts";

/** Stands in for a socket's writer: takes a write at once, or keeps its memory as a full kernel buffer would. */
class Sink {
  readonly chunks: Uint8Array[] = [];
  full = false;

  write(bytes: Uint8Array): boolean {
    this.chunks.push(this.full ? bytes : Buffer.from(bytes));
    return !this.full;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }
}

describe("Outbox", () => {
  it("sends a head and the first bytes of a body in one write", () => {
    const [outbox, sink] = [new Outbox(), new Sink()];
    outbox.text(sink, "head\r\n");
    outbox.bytes(sink, Buffer.from("body"));
    outbox.flush();
    outbox.flush();
    expect(sink.chunks.map(String)).toEqual(["head\r\nbody"]);
  });

  it("loses nothing of what is larger than itself, in whatever pieces it comes", () => {
    for (const size of [65_535, 65_536, 65_537, 200_000]) {
      const [outbox, sink] = [new Outbox(), new Sink()];
      const bytes = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));
      outbox.text(sink, "10000\r\n");
      outbox.bytes(sink, bytes);
      outbox.text(sink, "\r\n");
      outbox.text(sink, "y".repeat(size));
      outbox.text(sink, "end");
      outbox.flush();
      expect(sink.text === `10000\r\n${bytes.toString("latin1")}\r\n${"y".repeat(size)}end`).toBe(true);
    }
  });

  it("keeps what goes to two sockets apart, in order", () => {
    const [outbox, one, two] = [new Outbox(), new Sink(), new Sink()];
    outbox.text(one, "a");
    outbox.text(two, "b");
    outbox.text(one, "c");
    outbox.flush();
    expect([one.text, two.text]).toEqual(["ac", "b"]);
  });

  it("does not write over what a socket has yet to send", () => {
    const [outbox, slow, quick] = [new Outbox(), new Sink(), new Sink()];
    slow.full = true;
    for (const text of ["first", "second"]) {
      outbox.text(slow, text);
      outbox.flush();
      outbox.text(quick, "x".repeat(1000));
      outbox.flush();
    }
    expect(slow.text).toBe("firstsecond");
  });
});
