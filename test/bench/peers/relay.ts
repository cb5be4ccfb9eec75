/**
 * A bare relay over Node's sockets, about fifty lines: finds where a head ends, writes on, writes back. It parses nothing else and decides
 * nothing. It is the speed of light of this runtime's sockets on the machine at hand, and no design: a message without a
 * Content-Length, or one that does not come whole in the order asked for, is beyond it.
 *
 * Run by itself: `node relay.ts <port> <origin port> [<certificate> <key>]`; with those two its clients speak TLS.
 */
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { start, untilPort } from "../../tools/processes.ts";
import { messageLength } from "../load/http1-message.ts";
import type { Peer } from "./peer.ts";

const file = fileURLToPath(import.meta.url);

export const relay: Peer = {
  name: "relay",
  missing: () => undefined,
  async start({ workload, port, originPort, cpus, tls }) {
    const files = workload.downstream === "tls" ? [tls.certificate, tls.key] : [];
    const running = start("relay", [process.execPath, file, String(port), String(originPort), ...files], { cpus });
    await untilPort(running, port);
    return { port, process: running };
  },
};

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
  const [port = "0", originPort = "0", certificate, key] = process.argv.slice(2);
  const relayed = relayTo(Number(originPort));
  const server =
    certificate === undefined || key === undefined
      ? createServer(relayed)
      : createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, relayed);
  server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
}
