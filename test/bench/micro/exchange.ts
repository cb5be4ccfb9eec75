/**
 * Cost of one plain request in the core, from head to record, by the size of the configuration: `node test/bench/micro/exchange.ts`.
 * Sockets, codec and telemetry are not in it.
 */
import { compile, createExchange, MapBank, NO_BODY, type Ports, QuotaFilter } from "../../../gateway/core/index.ts";
import { mesh } from "./mesh.ts";

const clock = { now: () => performance.now(), unixMs: () => Date.now() };
const bank = () => new MapBank({ maxCounters: 1024, unixMs: clock.unixMs });
let reported = 0;
const ports: Ports = {
  clock,
  random: Math.random,
  quotas: new QuotaFilter({ bank: bank(), fallback: bank(), nowUs: () => Math.floor(performance.now() * 1000) }),
  reporter: {
    request: () => {
      reported++;
    },
  },
};
const peer = { address: "127.0.0.1", port: 40_000 };
const REQUESTS = 200_000;

function run(routes: number, perHost: number): string {
  const compiled = compile(mesh(routes, perHost), "1.1", undefined);
  if (!compiled.ok) throw new Error("the mesh does not compile");
  const tables = compiled.value;
  const listener = tables.listeners.get("127.0.0.1:8080");
  const server = listener?.servers.any;
  if (listener === undefined || server === undefined) throw new Error("no listener");
  const target = `/svc-${Math.min(perHost, 100) - 20}/a/b?q=1`;
  const one = () => {
    const fields = ["host", "h0.example.com", "user-agent", "bench", "accept", "*/*", "accept-encoding", "gzip"];
    const head = { method: "GET", scheme: "http" as const, authority: "h0.example.com", target, fields, body: NO_BODY };
    const exchange = createExchange(
      tables,
      listener,
      server,
      { head, version: "1.1", connectionOptions: undefined },
      peer,
      ports,
    );
    if (exchange.start().kind !== "send") throw new Error("not sent");
    const response = ["content-type", "text/plain", "date", "Thu, 01 Jan 2026 00:00:00 GMT", "server", "origin"];
    exchange.responded({ status: 200, fields: response, body: { kind: "length", bytes: 1024 } });
    exchange.finished({ outcome: "complete", requestBytes: 0, responseBytes: 1024 });
  };
  for (let i = 0; i < REQUESTS; i++) one();
  const startedMs = performance.now();
  for (let i = 0; i < REQUESTS; i++) one();
  const us = ((performance.now() - startedMs) * 1000) / REQUESTS;
  return `${String(routes).padStart(6)} routes, ${String(perHost).padStart(5)} per host: ${us.toFixed(2)} µs per request`;
}

for (const [routes, perHost] of [
  [100, 100],
  [10, 10],
  [10_000, 10_000 / 1000],
  [10_000, 10_000],
] as const) {
  console.log(run(routes, Math.max(perHost, 21)));
}
if (reported === 0) throw new Error("nothing was reported");
