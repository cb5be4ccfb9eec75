/**
 * A process of origins that tell what reached them: `node echo-origins/main.ts 4` listens on four free ports, prints them as one JSON line, and
 * answers each request with its own number and the request's path, host and `x-version` as JSON.
 */
import { createServer, type Socket } from "node:net";
import { listening } from "../gateway.ts";

const count = Number(process.argv[2] ?? 1);

function serve(socket: Socket, origin: number): void {
  let text = "";
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    for (let end = text.indexOf("\r\n\r\n"); end !== -1; end = text.indexOf("\r\n\r\n")) {
      socket.write(answer(text.slice(0, end), origin));
      text = text.slice(end + 4);
    }
  });
}

function answer(head: string, origin: number): string {
  const path = head.split(" ", 2)[1] ?? "";
  const body = JSON.stringify({ origin, path, host: field(head, "host"), version: field(head, "x-version") });
  return `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function field(head: string, name: string): string | undefined {
  return new RegExp(`\r\n${name}: ([^\r]*)`, "i").exec(head)?.[1];
}

const ports = await Promise.all(
  Array.from({ length: count }, (_, origin) => listening(createServer((socket) => serve(socket, origin)))),
);
process.stdout.write(`${JSON.stringify(ports)}\n`);
