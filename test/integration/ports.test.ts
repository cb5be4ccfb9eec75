import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { AcceptQueue, isListenedOn } from "../../gateway/node/accept-queue.ts";
import { closeUnnoticed, isBusy } from "../../gateway/node/ports.ts";
import { freePort } from "../support/gateway.ts";

const server = createServer();
afterEach(() => server.close());

/** More than the kernel tells of in one read of its table; MAX_TABLE_BYTES is a hundred times as many. */
const MANY = 60;

it("finds the queue of a listening socket among many others", async () => {
  const others = Array.from({ length: MANY }, () => createServer());
  try {
    const ports: number[] = [];
    const listen = async (one: typeof server): Promise<number> => {
      await once(one.listen({ host: "127.0.0.1", port: 0 }), "listening");
      return (one.address() as AddressInfo).port;
    };
    const queue = new AcceptQueue(await listen(server), undefined);
    expect(queue.waiting()).toBe(0);
    // Some come to stand before the first.
    for (const other of others) ports.push(await listen(other));
    expect(queue.waiting()).toBe(0);
    for (const port of ports) {
      expect(new AcceptQueue(port, undefined).waiting()).toBe(0);
      expect(isListenedOn(port)).toBe(true);
    }
    expect(isListenedOn(await freePort())).toBe(false);
  } finally {
    for (const other of others) other.close();
  }
});

it("accepts who waits before it closes, although the process stood still for longer than it looks for a good moment", async () => {
  let accepted = 0;
  server.removeAllListeners("connection").on("connection", (socket) => {
    accepted += 1;
    socket.end();
  });
  await once(server.listen({ host: "127.0.0.1", port: 0 }), "listening");
  const clients = Array.from({ length: 8 }, () => connect({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }));
  const ended = Promise.all(clients.map((client) => once(client.resume(), "end")));
  await new Promise<void>((resolve) => process.nextTick(resolve));
  // They are connected, and nobody has accepted them: what follows is all in one turn.
  let asked = 0;
  await closeUnnoticed(server, () => {
    if (asked++ === 0) for (const untilMs = performance.now() + 1200; performance.now() < untilMs; );
    return true;
  });
  await ended;
  expect(accepted).toBe(clients.length);
});

it("a port is busy while somebody listens there, and whoever tries it is not answered by the question", async () => {
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  expect(await isBusy("127.0.0.1", port)).toBe(true);
  expect(await isBusy("0.0.0.0", port)).toBe(true);
  server.close();
  await once(server, "close");
  const asked = isBusy("127.0.0.1", port);
  const client = connect({ host: "127.0.0.1", port });
  const [error] = (await once(client, "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ECONNREFUSED");
  expect(await asked).toBe(false);
});
