import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { clientHello, records } from "../../test/wire/client-hellos.ts";
import { Deadlines } from "./deadlines.ts";
import { CLIENT_HELLO_TIMEOUT_MS, HelloPeek } from "./hello-peek.ts";

class Bench {
  now = 1000;
  readonly told: string[] = [];
  readonly socket = new Duplex({ read: () => undefined, write: (_bytes, _encoding, done) => done() });
  fire: (() => void) | undefined;
  readonly peek: HelloPeek;

  constructor() {
    const clock = { now: () => this.now, unixMs: () => this.now };
    const deadlines = new Deadlines(clock, (_ms, run) => {
      this.fire = run;
      return () => undefined;
    });
    const owner = {
      hello: (_peek: HelloPeek, socket: Socket, name: string | undefined) =>
        this.told.push(`hello ${name} ${(socket.read() as Buffer).length}`),
      noHello: (_peek: HelloPeek, reason: string | undefined) => this.told.push(`none ${reason}`),
    };
    this.peek = new HelloPeek(this.socket as unknown as Socket, { clock, deadlines }, owner);
  }

  async bytes(...parts: readonly Uint8Array[]): Promise<this> {
    for (const part of parts) {
      this.socket.push(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this;
  }
}

const HELLO = records(clientHello({ serverName: "a.test" }));

test("a ClientHello in any parts is put back whole, with what came behind it", async () => {
  const whole = Buffer.concat([HELLO, Buffer.from("more")]);
  const parts = Array.from(whole, (_, i) => whole.subarray(i, i + 1));
  expect((await new Bench().bytes(whole)).told).toEqual([`hello a.test ${whole.length}`]);
  expect((await new Bench().bytes(...parts)).told).toEqual([`hello a.test ${HELLO.length}`]);
});

test("what is no ClientHello, comes too late or not at all closes the connection", async () => {
  const plain = await new Bench().bytes(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  expect([plain.told, plain.socket.destroyed]).toEqual([["none ClientHello not_tls"], true]);
  const late = await new Bench().bytes(HELLO.subarray(0, 9));
  late.now += CLIENT_HELLO_TIMEOUT_MS;
  late.fire?.();
  expect([late.told, late.socket.destroyed]).toEqual([["none the ClientHello did not come in time"], true]);
  const gone = new Bench();
  gone.socket.push(null);
  await gone.bytes();
  await new Promise((resolve) => setImmediate(resolve));
  expect([gone.told, gone.socket.destroyed]).toEqual([["none undefined"], true]);
});
