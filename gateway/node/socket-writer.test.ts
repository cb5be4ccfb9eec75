import { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { describe, expect, it, vi } from "vitest";
import { SocketWriter } from "./socket-writer.ts";

/** A handle that takes what it is told to, and finishes the rest when it is told to. */
class Handle {
  answers: (number | "pending")[] = [];
  readonly writes: string[] = [];
  readonly pending: { oncomplete: ((status: number) => void) | null; buffer: unknown; writeStatus: number | null }[] = [];

  writeBuffer(_request: null, bytes: Uint8Array): unknown {
    this.writes.push(Buffer.from(bytes).toString());
    const answer = this.answers.shift() ?? 0;
    if (answer !== "pending") return answer;
    const pending = { oncomplete: null, buffer: null, writeStatus: null };
    this.pending.push(pending);
    return pending;
  }

  finish(status = 0): void {
    const pending = this.pending.shift();
    if (pending === undefined) throw new Error("nothing is pending");
    pending.writeStatus = status;
    pending.oncomplete?.(status);
  }
}

function setUp(prototype: object = Socket.prototype) {
  const handle = new Handle();
  const socket = {
    _handle: handle,
    connecting: false,
    destroyed: false,
    writable: true,
    writableLength: 0,
    writableNeedDrain: false,
    on: vi.fn(),
    write: vi.fn(),
    end: vi.fn(),
    destroySoon: vi.fn(),
    destroy: vi.fn(),
  };
  Object.setPrototypeOf(socket, prototype);
  const drained = vi.fn();
  return { handle, socket, drained, writer: new SocketWriter(socket as unknown as Socket, drained) };
}

const bytes = (text: string): Buffer => Buffer.from(text);

describe("SocketWriter on a plain socket", () => {
  it("keeps no memory of what the kernel takes at once", () => {
    const { handle, writer } = setUp();
    expect(writer.write(bytes("a"))).toBe(true);
    expect([handle.writes, writer.isFull, writer.unsentBytes]).toEqual([["a"], false, 0]);
  });

  it("keeps the memory of what the kernel has not taken, and is full until it has", () => {
    const { handle, writer, drained } = setUp();
    handle.answers = ["pending"];
    const held = bytes("abc");
    expect(writer.write(held)).toBe(false);
    expect([writer.isFull, writer.unsentBytes, handle.pending[0]?.buffer === held]).toEqual([true, 3, true]);
    handle.finish();
    expect(drained).toHaveBeenCalledOnce();
    expect([writer.isFull, writer.unsentBytes]).toEqual([false, 0]);
  });

  it("copies what is written meanwhile, and sends it in order and in one piece", () => {
    const { handle, writer } = setUp();
    handle.answers = ["pending"];
    writer.write(bytes("a"));
    const reused = bytes("b");
    expect(writer.write(reused)).toBe(true);
    reused.write("x");
    writer.write(bytes("c"));
    expect(writer.unsentBytes).toBe(3);
    handle.finish();
    expect(handle.writes).toEqual(["a", "bc"]);
  });

  it.each(["end", "endAndClose"] as const)("%s waits until everything is out, and takes nothing more", (how) => {
    const { handle, writer, socket } = setUp();
    handle.answers = ["pending", "pending"];
    writer.write(bytes("a"));
    writer.write(bytes("b"));
    writer[how]();
    writer.write(bytes("late"));
    handle.finish();
    expect([socket.end.mock.calls.length, socket.destroySoon.mock.calls.length]).toEqual([0, 0]);
    handle.finish();
    expect(handle.writes).toEqual(["a", "b"]);
    expect([socket.end.mock.calls.length, socket.destroySoon.mock.calls.length]).toEqual(how === "end" ? [1, 0] : [0, 1]);
  });

  it("closes the socket with the system's word for what went wrong, at once or later", () => {
    for (const answer of [-32, "pending"] as const) {
      const { handle, writer, socket } = setUp();
      handle.answers = [answer];
      writer.write(bytes("a"));
      if (answer === "pending") handle.finish(-32);
      expect(socket.destroy.mock.calls[0]?.[0]).toMatchObject({ code: "EPIPE", syscall: "write" });
    }
  });

  it("leaves it to the stream while the socket is connecting, or the stream holds something", () => {
    for (const state of [{ connecting: true }, { writableLength: 1 }]) {
      const { handle, writer, socket } = setUp();
      Object.assign(socket, state);
      expect(writer.write(bytes("a"))).toBe(true);
      expect([handle.writes.length, String(socket.write.mock.calls[0]?.[0])]).toEqual([0, "a"]);
    }
  });

  it("does not touch handles that it does not know", () => {
    const { handle, writer, socket } = setUp(class extends Socket {}.prototype);
    writer.write(bytes("a"));
    expect([handle.writes.length, socket.write.mock.calls.length]).toEqual([0, 1]);
  });
});

describe("SocketWriter on TLS", () => {
  it("lets go of the memory at once, and is not full because a write has no end yet", () => {
    const { handle, writer } = setUp(TLSSocket.prototype);
    handle.answers = ["pending"];
    expect(writer.write(bytes("a"))).toBe(true);
    expect([writer.isFull, writer.unsentBytes, handle.pending[0]?.oncomplete]).toEqual([false, 1, null]);
    handle.finish();
    expect(writer.unsentBytes).toBe(0);
    writer.write(bytes("b"));
    expect(handle.writes).toEqual(["a", "b"]);
  });

  it("gives one write at a time, and asks for its end when there is more", () => {
    const { handle, writer } = setUp(TLSSocket.prototype);
    handle.answers = ["pending"];
    writer.write(bytes("a"));
    writer.write(bytes("b"));
    expect(handle.writes).toEqual(["a"]);
    handle.finish();
    expect(handle.writes).toEqual(["a", "b"]);
  });

  it("is full with more than 64 KiB that the other side does not take", () => {
    const { handle, writer, drained } = setUp(TLSSocket.prototype);
    handle.answers = ["pending"];
    writer.write(Buffer.alloc(64 * 1024));
    expect(writer.isFull).toBe(false);
    writer.write(bytes("b"));
    expect(writer.isFull).toBe(true);
    handle.finish();
    expect(drained).toHaveBeenCalledOnce();
    expect(writer.isFull).toBe(false);
  });

  it("hears of a write that failed when nobody asked, with the next one", () => {
    const { handle, writer, socket } = setUp(TLSSocket.prototype);
    handle.answers = ["pending"];
    writer.write(bytes("a"));
    handle.finish(-104);
    writer.write(bytes("b"));
    expect(socket.destroy.mock.calls[0]?.[0]).toMatchObject({ code: "ECONNRESET" });
  });
});
