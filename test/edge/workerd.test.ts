/** What the edge takes for granted of workerd: raw targets, objects that survive a restart. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { freePort, RawClient } from "../support/gateway.ts";
import { startWorkerd } from "../support/workerd.ts";

it("hands the target over as it came, and keeps an object's storage over a restart", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tidegate-workerd-"));
  const counts: number[] = [];
  for (let run = 0; run < 2; run++) {
    const port = await freePort();
    const workerd = await startWorkerd(directory, {
      workers: [
        {
          name: "hello",
          entry: "test/edge/workers/hello.ts",
          bindings: { COUNTER: { kind: "durableObject", className: "Counter" } },
          durableObjects: ["Counter"],
        },
      ],
      sockets: [{ name: "http", address: `127.0.0.1:${port}`, service: "hello" }],
      storage: "storage",
    });
    const client = new RawClient(port);
    const answer = await client
      .send("GET /a/../b/%2e%2e//d?x=%41 HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n")
      .end();
    expect(answer).toContain('"url":"http://shop.example.com/a/../b/%2e%2e//d?x=%41"');
    counts.push(Number(/"count":(\d+)/.exec(answer)?.[1]));
    client.close();
    await workerd.stop();
  }
  expect(counts).toEqual([1, 2]);
});
