/**
 * A bare relay over node:net, about sixty lines: finds where a head ends, writes on, writes back. It parses nothing else and decides
 * nothing. It is the speed of light of this runtime's sockets on the machine at hand, and no design: a message without a
 * Content-Length, or one that does not come whole in the order asked for, is beyond it.
 *
 * Run by itself: `node relay.ts <port> <origin port>`.
 */

import { connect, createServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { start, untilPort } from "../../tools/processes.ts";
import type { Peer } from "./peer.ts";

const file = fileURLToPath(import.meta.url);

export const relay: Peer = {
  name: "relay",
  missing: () => undefined,
  async start({ port, originPort, cpu }) {
    const running = start("relay", [process.execPath, file, String(port), String(originPort)], { cpu });
    await untilPort(running, port);
    return running;
  },
};

const END = Buffer.from("\r\n\r\n");

/** Bytes of the first message in `bytes`, or -1 when it is not whole yet. */
function messageLength(bytes: Buffer): number {
  const end = bytes.indexOf(END);
  if (end === -1) return -1;
  const head = bytes.toString("latin1", 0, end);
  const at = head.search(/content-length: */i);
  const body = at === -1 ? 0 : Number.parseInt(head.slice(at + 16), 10);
  return bytes.length >= end + 4 + body ? end + 4 + body : -1;
}

function relayTo(originPort: number): (client: Socket) => void {
  const idle: Socket[] = [];
  return (client) => {
    client.setNoDelay(true);
    client.on("error", () => client.destroy());
    client.on("data", (request: Buffer) => {
      const origin = idle.pop() ?? connect({ port: originPort, host: "127.0.0.1", noDelay: true });
      let rest: Buffer | undefined;
      const answered = (bytes: Buffer): void => {
        rest = rest === undefined ? bytes : Buffer.concat([rest, bytes]);
        if (messageLength(rest) === -1) return;
        origin.removeListener("data", answered);
        idle.push(origin);
        client.write(rest);
      };
      origin.on("data", answered);
      if (origin.listenerCount("error") === 0) origin.on("error", () => origin.destroy());
      origin.write(request);
    });
  };
}

if (process.argv[1] === file) {
  const [port, originPort] = process.argv.slice(2).map(Number);
  createServer(relayTo(originPort ?? 0)).listen({ port: port ?? 0, host: "127.0.0.1", backlog: 1024 });
}
