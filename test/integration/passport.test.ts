/** Requests with a passport over real sockets: what is taken, what is refused and by which name, and by how many threads how often. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Passport } from "../../gateway/core/identity/index.ts";
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import { quotaPolicy } from "../conformance/build.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  type TestGateway,
  testGateway,
  testListener,
  testSnapshot,
} from "../support/gateway.ts";
import { honest, type TestSite, testSite } from "../support/passports.ts";

let site: TestSite;
let stranger: TestSite;
let origin: ScriptedOrigin;
let directory: string;
const gateways: TestGateway[] = [];

beforeAll(async () => {
  site = await testSite("europe");
  stranger = await testSite("nowhere");
  origin = await new ScriptedOrigin((socket) => socket.write(okAnswer("served"))).start();
  directory = mkdtempSync(join(tmpdir(), "tidegate-passport-"));
});
afterEach(async () => {
  for (const { engine } of gateways.splice(0)) await engine.drain(500);
});
afterAll(() => {
  origin.stop();
  rmSync(directory, { recursive: true, force: true });
});

const LIMIT = 5;

/** One cluster that no route leads to, and a quota of the gateway's. */
async function gateway(threads = 1, change: (snapshot: Snapshot) => Snapshot = (snapshot) => snapshot) {
  const port = await freePort();
  const log = join(directory, `access-${port}.log`);
  const base = testSnapshot({
    listeners: [testListener(port)],
    originPorts: [origin.port],
    routes: [],
    settings: {
      passports: { audience: "main", issuers: [site.issuer] },
      explainHeaders: true,
      accessLog: { enabled: true, path: log },
    },
  });
  const one = testGateway(threads);
  gateways.push(one);
  await one.install(change(base));
  return { port, log, one };
}

const withQuota = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  routeTables: snapshot.routeTables.map((table) => ({ ...table, quotas: ["ns/per-client"] })),
  quotas: [
    quotaPolicy("ns/per-client", [{ name: "l", amount: LIMIT, perMs: 600_000, window: "rolling" }], {
      key: [{ kind: "clientIp", v4Prefix: 32, v6Prefix: 64 }],
    }),
  ],
});

interface Sent {
  readonly line?: string;
  readonly host?: string;
  readonly fields?: string;
}

/** The status of the answer, and the reason that it explains itself by. */
async function send(
  port: number,
  token: string,
  { line = "GET /", host = "shop.test", fields = "" }: Sent = {},
): Promise<string> {
  const client = new RawClient(port);
  client.send(`${line} HTTP/1.1\r\nhost: ${host}\r\nx-tidegate-passport: ${token}\r\n${fields}connection: close\r\n\r\n`);
  const answer = await client.end();
  client.close();
  const status = /^HTTP\/1.1 (\d+)/.exec(answer)?.[1] ?? "none";
  const reason = /x-tidegate-reason: (\S+)/.exec(answer)?.[1];
  return reason === undefined ? status : `${status} ${reason}`;
}

const token = async (change: Partial<Passport> = {}, by = site): Promise<string> =>
  (await honest(by, { destination: CLUSTER, ...change })).token;
const nowS = () => Math.floor(Date.now() / 1000);

describe("a passport over a socket", () => {
  it("is taken once; the service gets the request without it, from the client that the edge has seen", async () => {
    const { port, log } = await gateway();
    const good = await token({ target: "/a/../b?x" });
    expect(await send(port, good, { line: "GET /a/../b?x", fields: "x-forwarded-for: 203.0.113.1, 198.51.100.7\r\n" })).toBe(
      "200",
    );
    const request = origin.received.at(-1) ?? "";
    expect(request).toMatch(/^GET \/a\/\.\.\/b\?x HTTP\/1\.1\r\n/);
    expect(request).not.toContain("x-tidegate-passport");
    expect(request).toContain("x-forwarded-for: 203.0.113.1, 198.51.100.7\r\n");
    expect(await send(port, good, { line: "GET /a/../b?x" })).toBe("403 passport_replayed");
    await eventually(() => readFileSync(log, "utf8").split("\n").length > 2);
    const [taken, replayed] = readFileSync(log, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(taken).toMatchObject({ status: 200, site: "europe", client: "198.51.100.7", cluster: CLUSTER, route: null });
    expect(replayed).toMatchObject({
      status: 403,
      reason: "passport_replayed",
      site: "europe",
      passport: taken?.["passport"],
      client: null,
    });
  });

  it.each([
    ["altered in its method", (): Promise<string> => token(), { line: "DELETE /" }, "passport_other_method"],
    ["altered in its authority", () => token(), { host: "admin.test" }, "passport_other_authority"],
    ["altered in its target", () => token(), { line: "GET /admin" }, "passport_other_target"],
    ["expired", () => token({ issuedAt: nowS() - 31, expires: nowS() - 1 }), {}, "passport_expired"],
    ["for another cluster", () => token({ audience: "other" }), {}, "passport_foreign_audience"],
    ["by somebody else", () => token({}, stranger), {}, "passport_unknown_issuer"],
    ["damaged", async (): Promise<string> => `${await token()}x`, {}, "passport_malformed"],
    ["empty", async (): Promise<string> => "", {}, "passport_malformed"],
  ] as const)("%s: refused by name, and never routed instead", async (_, make, sent, reason) => {
    const { port } = await gateway();
    const before = origin.received.length;
    expect(await send(port, await make(), sent)).toBe(`403 ${reason}`);
    expect(origin.received.length).toBe(before);
  });

  it("is not smuggled: twice, in another case, or behind Connection", async () => {
    const { port } = await gateway();
    const good = await token();
    expect(await send(port, good, { fields: `X-Tidegate-Passport: ${good}\r\n` })).toBe("403 passport_repeated");
    expect(await send(port, "forged", { fields: "connection: x-tidegate-passport\r\n" })).toBe("403 passport_malformed");
  });

  it("is charged by the gateway's own quotas for the client that it names, and not by those that the edge has charged", async () => {
    const { port } = await gateway(1, withQuota);
    const mine = { clientAddress: "198.51.100.1" };
    for (let i = 0; i < LIMIT; i++) expect(await send(port, await token(mine))).toBe("200");
    expect(await send(port, await token(mine))).toMatch(/^429/);
    expect(await send(port, await token({ ...mine, charged: ["ns/per-client"] }))).toBe("200");
    expect(await send(port, await token({ clientAddress: "198.51.100.2" }))).toBe("200");
  });

  it("a gateway that takes none drops it and routes as ever", async () => {
    const { port } = await gateway(1, ({ settings: { passports: _none, ...settings }, ...snapshot }) => ({
      ...snapshot,
      settings,
    }));
    expect(await send(port, await token())).toBe("404 no_route");
  });
});

it("of many copies at once over several threads exactly one is taken", async () => {
  const { port, one } = await gateway(3);
  for (let round = 0; round < 10; round++) {
    const copy = await token();
    const told = await Promise.all(Array.from({ length: 24 }, () => send(port, copy)));
    expect(told.filter((status) => status === "200")).toHaveLength(1);
    expect(told.filter((status) => status === "403 passport_replayed")).toHaveLength(23);
  }
  await one.engine.sample();
  expect(one.metrics.exposition()).toContain('tidegate_passports_total{outcome="taken"} 10');
});
