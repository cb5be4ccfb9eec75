/**
 * The case table against the Node gateway: real sockets for client and origins.
 *
 * Left out is what needs dice or a clock of the test's own, TLS, and failures of a connection that no origin can be asked to have; the core's run has those.
 */
import { describe, expect, it } from "vitest";
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import type { Case } from "../conformance/case.ts";
import { CASES } from "../conformance/cases/index.ts";
import { compareSeen, type Seen } from "../conformance/compare.ts";
import { generatedCases } from "../conformance/generated.ts";
import { askByHttp2, hasHttp2, withoutVersion } from "../conformance/http2.ts";
import { differenceOf } from "../conformance/known-differences.ts";
import { bytesOfRequest, Origins, responseOfBytes } from "../conformance/sockets.ts";
import { eventually, freePort, RawClient, testGateway } from "../support/gateway.ts";

/** Between finding a free port and binding it somebody else may take it. */
const FREE_PORT_RACE = { retry: 2 };

function playable({ request, origin, dice, expect: expected }: Case): boolean {
  const answers = (origin ?? []).every((behaviour) => "status" in behaviour);
  const ownClock =
    (expected.tookMs ?? 0) > 0 || expected.fields?.["date"] !== undefined || expected.flags?.includes("DI") === true;
  return answers && dice === undefined && !ownClock && request.scheme !== "https" && request.method !== "CONNECT";
}

/** The snapshot with a listening port in place of each made-up endpoint. */
async function withPorts(snapshot: Snapshot, origins: Origins): Promise<Snapshot> {
  const endpoints = [];
  for (const entry of snapshot.endpoints) {
    const real = [];
    for (const endpoint of entry.endpoints) {
      const port = await origins.port(`${endpoint.address}:${endpoint.port}`);
      real.push({ ...endpoint, address: "127.0.0.1", port });
    }
    endpoints.push({ ...entry, endpoints: real });
  }
  return { ...snapshot, endpoints };
}

async function run(test: Case, ask: Ask = askByHttp1): Promise<Seen> {
  const origins = new Origins();
  origins.play(test);
  const gateway = testGateway();
  const port = await freePort();
  const snapshot = await withPorts(test.snapshot, origins);
  const listeners = snapshot.listeners
    .filter(({ protocol }) => protocol === "http")
    .map((listener) => ({ ...listener, name: `127.0.0.1:${port}`, port }));
  const settings = { ...snapshot.settings, accessLog: { enabled: false, path: "-" } };
  await gateway.install({ ...snapshot, settings, listeners }, "1.7");
  try {
    // The peer of every case but those that say otherwise is here the loopback address.
    const response = await ask(port, test);
    await eventually(() => origins.isComplete);
    return { upstream: origins.seen, mirrored: origins.mirrored, response };
  } finally {
    await gateway.engine.drain(0);
    origins.close();
  }
}

type Ask = (port: number, test: Case) => Promise<NonNullable<Seen["response"]>>;

async function askByHttp1(port: number, test: Case): Promise<NonNullable<Seen["response"]>> {
  const client = new RawClient(port);
  try {
    return responseOfBytes(await client.send(bytesOfRequest(test)).end());
  } finally {
    client.close();
  }
}

/** The test's client is not 192.0.2.1. */
function fromLoopback(test: Case): Case {
  return JSON.stringify(test.expect).includes("192.0.2.1") ? { ...test, expect: replaced(test.expect) } : test;
}

function replaced<T>(value: T): T {
  if (typeof value === "string") return value.replaceAll("192.0.2.1", "127.0.0.1") as T;
  if (value instanceof RegExp || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(replaced) as T;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, replaced(part)])) as T;
}

for (const [group, cases] of Object.entries({ ...CASES, generated: await generatedCases() })) {
  const chosen = cases.filter(playable).map((test) => [test.name, fromLoopback(test)] as const);
  if (chosen.length === 0) continue;
  describe(group, () => {
    const differs = ([name]: readonly [string, Case]) => differenceOf("node", group, name) !== undefined;
    it.each(chosen.filter((one) => !differs(one)))("%s", FREE_PORT_RACE, async (_, test) => {
      compareSeen(test, await run(test));
    });
    const byHttp2 = chosen.filter((one) => !differs(one) && hasHttp2(one[1]));
    if (byHttp2.length > 0)
      it.each(byHttp2)("%s, by HTTP/2", FREE_PORT_RACE, async (_, test) => {
        compareSeen(test, withoutVersion(await run(test, askByHttp2)));
      });
    it.fails.each(chosen.filter(differs))("%s", { timeout: 2000 }, async (_, test) => {
      compareSeen(test, await run(test));
    });
  });
}

it("plays most of the table", () => {
  const all = Object.values(CASES).flat();
  expect(all.filter(playable).length).toBeGreaterThan(all.length / 2);
});
