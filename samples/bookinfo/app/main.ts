/**
 * Runs all services of the sample in one process, each on a port of its own on 127.0.0.1:
 * productpage 9080, details 9081, ratings 9082, reviews v1–v3 9083–9085, and the outside catalogue 9086.
 */
import { parseArgs } from "node:util";
import { details } from "./details.ts";
import { isbn } from "./isbn.ts";
import { productpage } from "./productpage.ts";
import { ratings } from "./ratings.ts";
import { reviews } from "./reviews.ts";
import { type Handler, type MeshAddress, serve } from "./service.ts";

const { values } = parseArgs({
  options: {
    ingress: { type: "string", default: "http://127.0.0.1:8080" },
    egress: { type: "string", default: "http://127.0.0.1:3128" },
  },
});
const mesh: MeshAddress = { ingress: new URL(values.ingress), egress: new URL(values.egress) };
const services: [name: string, port: number, handler: Handler][] = [
  ["productpage", 9080, productpage(mesh)],
  ["details", 9081, details(mesh)],
  ["ratings", 9082, ratings],
  ["reviews-v1", 9083, reviews("v1", mesh)],
  ["reviews-v2", 9084, reviews("v2", mesh)],
  ["reviews-v3", 9085, reviews("v3", mesh)],
  ["isbn", 9086, isbn],
];

try {
  const servers = await Promise.all(services.map(([, port, handler]) => serve(port, handler)));
  process.stdout.write(`bookinfo: ${services.map(([name, port]) => `${name}:${port}`).join(" ")}\n`);
  const stop = () => {
    for (const server of servers) {
      server.close();
      server.closeIdleConnections();
    }
    setTimeout(() => process.exit(0), 500).unref();
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
} catch (error) {
  process.stderr.write(
    `bookinfo: ${error instanceof Error ? error.message : String(error)}; stop what uses the port, or run the sample elsewhere\n`,
  );
  process.exit(1);
}
