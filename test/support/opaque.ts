/** Opaque connections for tests: listeners that carry them, and ends that count and check what arrives. */
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { ConnectionRoute, Listener } from "../../gateway/core/ir/index.ts";
import { CLUSTER, testListener } from "./gateway.ts";

const ORIGIN = { kind: "VirtualService", namespace: "test", name: "test" };

export function connectionRoute(change: Partial<ConnectionRoute> = {}): ConnectionRoute {
  return { id: "test/test/tcp/0", origin: ORIGIN, matches: [], destinations: [{ cluster: CLUSTER, weight: 1 }], ...change };
}

/** A port whose connections all take `routes`; by default to the one cluster. */
export function tcpListener(
  port: number,
  routes: readonly ConnectionRoute[] = [connectionRoute()],
  change: Partial<Listener> = {},
): Listener {
  return testListener(port, {
    protocol: "tcp",
    servers: [{ name: "test", serverNames: ["*"], connections: routes }],
    ...change,
  });
}

/** A server of a `tls` listener that lets TLS through. */
export function passthrough(
  name: string,
  serverNames: readonly string[],
  routes: readonly ConnectionRoute[],
): Listener["servers"][number] {
  return { name, serverNames, tls: { mode: "passthrough" }, connections: routes };
}

/** Bytes that differ from place to place: 4 bytes of the index in every 4. */
export function pattern(bytes: number): Buffer {
  const made = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) made.writeUInt32LE(at, at);
  return made;
}

export interface Received {
  readonly bytes: number;
  readonly hash: string;
}

/** Reads a socket to its end. Rejects when it is cut. `pauseMs`: how long it stops reading after each read, to press back. */
export function receive(socket: Socket, pauseMs = 0): Promise<Received> {
  const hash = createHash("sha256");
  let bytes = 0;
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
      if (pauseMs === 0) return;
      socket.pause();
      setTimeout(() => socket.resume(), pauseMs);
    });
    socket.once("end", () => resolve({ bytes, hash: hash.digest("hex") }));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`closed after ${bytes} bytes without an end`)));
  });
}

export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
