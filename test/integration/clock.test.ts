import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, it } from "vitest";
import { armSystemTimer } from "../../gateway/node/clock.ts";
import { listening } from "../support/gateway.ts";

it("a process that stood still reads what has come meanwhile before it looks who was too late", async () => {
  const server = createServer();
  const port = await listening(server);
  const accepted = once(server, "connection");
  const client = connect({ port, host: "127.0.0.1", noDelay: true });
  const [socket] = (await accepted) as [Socket];
  try {
    const seen: string[] = [];
    socket.on("data", () => seen.push("read"));
    await new Promise<void>((resolve) => {
      armSystemTimer(1, () => {
        seen.push("expired");
        resolve();
      });
      const disarm = armSystemTimer(1, () => seen.push("disarmed"));
      setTimeout(disarm, 1);
      client.write("in time", () => {
        for (const untilMs = performance.now() + 50; performance.now() < untilMs; );
      });
    });
    expect(seen).toEqual(["read", "expired"]);
  } finally {
    client.destroy();
    socket.destroy();
    server.close();
  }
});
