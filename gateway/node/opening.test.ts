import { Duplex } from "node:stream";
import { expect, it } from "vitest";
import { clientHello, records } from "../../test/wire/client-hellos.ts";
import { Deadlines } from "./deadlines.ts";
import { CLIENT_HELLO_TIMEOUT_MS, type OpenedBy, Opening, type OpeningPlan, PROXY_HEADER_TIMEOUT_MS } from "./opening.ts";

const LINE = Buffer.from("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n");
const HELLO = Buffer.from(records(clientHello({ serverName: "a.test" }), 16_384));

/** What an opening needs of a socket. */
class Wire extends Duplex {
  override _read(): void {}
  feed(bytes: Buffer | null): Promise<void> {
    this.push(bytes);
    return new Promise((resolve) => setImmediate(resolve));
  }
}

class Rig {
  nowMs = 0;
  readonly socket = new Wire();
  readonly told: string[] = [];
  by: OpenedBy | undefined;
  readonly opening: Opening;
  #due: (() => void) | undefined;

  constructor(plan: OpeningPlan) {
    const clock = { now: () => this.nowMs, unixMs: () => 0 };
    const deadlines = new Deadlines(clock, (_ms, run) => {
      this.#due = run;
      return () => undefined;
    });
    this.opening = new Opening(
      this.socket as never,
      plan,
      {
        opened: (_opening, _socket, by) => {
          this.by = by;
          this.told.push("opened");
        },
        refused: (opening, _socket, reason) => this.told.push(`${opening.awaits}: ${reason}`),
        gone: () => this.told.push("gone"),
      },
      { clock, deadlines },
    );
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.#due?.();
  }
}

it("reads a header, then a ClientHello, and leaves every byte that is not the header's", async () => {
  const rig = new Rig({ proxyHeader: true, clientHello: true });
  for (const byte of Buffer.concat([LINE, HELLO])) await rig.socket.feed(Buffer.of(byte));
  expect(rig.told).toEqual(["opened"]);
  expect(rig.by?.header?.source).toEqual({ address: "192.0.2.1", port: 40_000 });
  expect(rig.by?.hello?.serverName).toBe("a.test");
  expect(rig.by?.rest).toEqual(HELLO);
});

it("hands over what came in the packet of the header", async () => {
  const rig = new Rig({ proxyHeader: true, clientHello: false });
  await rig.socket.feed(Buffer.concat([LINE, Buffer.from("GET /")]));
  expect(rig.by?.rest.toString()).toBe("GET /");
});

it("waits for a header no longer than PROXY_HEADER_TIMEOUT_MS, and then for a ClientHello no longer than CLIENT_HELLO_TIMEOUT_MS", async () => {
  const late = new Rig({ proxyHeader: true, clientHello: true });
  await late.socket.feed(LINE.subarray(0, 10));
  late.pass(PROXY_HEADER_TIMEOUT_MS - 1);
  expect(late.told).toEqual([]);
  late.pass(1);
  expect(late.told).toEqual(["header: the PROXY header did not come in time"]);

  const slow = new Rig({ proxyHeader: true, clientHello: true });
  slow.pass(PROXY_HEADER_TIMEOUT_MS - 1);
  await slow.socket.feed(Buffer.concat([LINE, HELLO.subarray(0, 10)]));
  slow.pass(CLIENT_HELLO_TIMEOUT_MS - 1);
  expect(slow.told).toEqual([]);
  slow.pass(1);
  expect(slow.told).toEqual(["hello: the ClientHello did not come in time"]);
});

it.each([
  ["no header", { proxyHeader: true, clientHello: false }, "GET / HTTP/1.1\r\n", /^header: PROXY header missing: /],
  ["a malformed one", { proxyHeader: true, clientHello: false }, "PROXY TCP4 x\r\n", /^header: PROXY header malformed: /],
  ["no ClientHello", { proxyHeader: false, clientHello: true }, "GET / HTTP/1.1\r\n", /^hello: ClientHello not_tls$/],
])("refuses %s", async (_what, plan, text, told) => {
  const rig = new Rig(plan);
  await rig.socket.feed(Buffer.from(text));
  expect(rig.told).toHaveLength(1);
  expect(rig.told[0]).toMatch(told);
});

it("tells once that the client has gone, and nothing afterwards", async () => {
  const rig = new Rig({ proxyHeader: true, clientHello: false });
  await rig.socket.feed(LINE.subarray(0, 5));
  await rig.socket.feed(null);
  rig.pass(PROXY_HEADER_TIMEOUT_MS);
  expect(rig.told).toEqual(["gone"]);
  expect(rig.socket.destroyed).toBe(true);
});
