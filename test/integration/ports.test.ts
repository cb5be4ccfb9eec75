import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { isBusy } from "../../gateway/node/ports.ts";

const server = createServer();
afterEach(() => server.close());

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
