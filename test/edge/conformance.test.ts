/**
 * The case table against workerd: one process, one Worker with the edge's own driver, real sockets for client and origins. What each case has to come to is
 * the table's; what cannot be alike is in known-differences.ts.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../gateway/core/error.ts";
import type { RequestHead } from "../../gateway/core/http/message.ts";
import { upstreamBinding } from "../../gateway/core/ir/index.ts";
import type { Case } from "../conformance/case.ts";
import { CASES } from "../conformance/cases/index.ts";
import { compareSeen, compareTold, type Seen } from "../conformance/compare.ts";
import { generatedCases } from "../conformance/generated.ts";
import { differenceOf, KNOWN_DIFFERENCES } from "../conformance/known-differences.ts";
import type { PostedCase, Told } from "../conformance/posted.ts";
import { bytesOfRequest, Origins, responseOfBytes } from "../conformance/sockets.ts";
import { writeCertificate } from "../support/certificate.ts";
import { eventually, freePort, RawClient } from "../support/gateway.ts";
import { startWorkerd } from "../support/workerd.ts";
import type { Running } from "../tools/processes.ts";

/** Endpoints of the table's clusters (build.ts). */
const ENDPOINTS = ["10.0.0.1:80", "10.0.0.2:80", "10.0.1.1:80", "10.0.1.2:80"];
/** The whole table, on a machine that does nothing else. */
const MAX_TABLE_MS = 60_000;

// A connection that the runtime keeps and finds closed later is opened anew without a word.
const origins = new Origins({ keepAlive: false });
let workerd: Running;
let ports: { readonly http: number; readonly https: number; readonly control: number };

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "tidegate-conformance-"));
  await writeCertificate({ key: join(directory, "key.pem"), certificate: join(directory, "cert.pem") }, "edge.test");
  ports = { http: await freePort(), https: await freePort(), control: await freePort() };
  const external: Record<string, { readonly address: string }> = {};
  for (const name of ENDPOINTS) external[name] = { address: `127.0.0.1:${await origins.port(name)}` };
  const bindings = ENDPOINTS.map((name) => {
    const [address = "", port = ""] = name.split(":");
    return [upstreamBinding(address, Number(port)), { kind: "service", service: name }] as const;
  });
  const service = "conformance";
  workerd = await startWorkerd(directory, {
    workers: [{ name: service, entry: "test/edge/workers/conformance.ts", bindings: Object.fromEntries(bindings) }],
    sockets: [
      { name: "http", address: `127.0.0.1:${ports.http}`, service },
      {
        name: "https",
        address: `127.0.0.1:${ports.https}`,
        service,
        tls: { certificateFile: "cert.pem", privateKeyFile: "key.pem" },
      },
      { name: "control", address: `127.0.0.1:${ports.control}`, service, entrypoint: "Control" },
    ],
    external,
  });
});
afterAll(async () => {
  origins.close();
  await workerd?.stop();
});

/** What `fetch` says of failures that no origin on loopback can be made to cause, in the platform's words. */
const SENTENCES: { readonly [code in ErrorCode]?: string } = {
  upstream_connect: "connect(): Connection refused",
  upstream_connect_timeout: "connect(): Connection timed out",
  upstream_tls: "TLS handshake failed",
  dns_failure: "DNS lookup failed",
};

function posted({ snapshot, dice, origin = [], expect: expected }: Case): PostedCase {
  const waits = (expected.tookMs ?? 0) > 0 || expected.flags?.includes("DI") === true || origin.some((one) => "hangs" in one);
  const ownClock = waits || expected.tookMs !== undefined || expected.fields?.["date"] !== undefined;
  const failures = origin.map((one) => ("fails" in one ? (SENTENCES[one.fails] ?? null) : null));
  return { snapshot, dice: dice ?? [0.5], ownClock, failures: failures.length === 0 ? [null] : failures };
}

const control = (init?: RequestInit): Promise<Response> => fetch(`http://127.0.0.1:${ports.control}/`, init);

interface Outcome extends Seen {
  readonly told: Told;
}

async function run(test: Case): Promise<Outcome> {
  const post = posted(test);
  origins.play(test, (attempt) => post.failures[Math.min(attempt, post.failures.length - 1)] !== null);
  const installed = await control({ method: "POST", body: JSON.stringify(post) });
  if (installed.status !== 200) throw new Error(await installed.text());
  const bytes = bytesOfRequest(test, ["cf-connecting-ip", test.request.peer ?? "192.0.2.1"]);
  const received = await (test.request.scheme === "https" ? overTls(bytes) : overTcp(bytes));
  const told = await toldAtEnd();
  const arrived = told.attempts.filter(({ isSent }) => isSent).length;
  const copies = test.expect.mirrored?.length ?? 0;
  // What goes on wrongly shows in the comparison.
  await eventually(() => origins.seen.length >= arrived && origins.mirrored.length >= copies, 2_000).catch(() => undefined);
  const seen = [...origins.seen];
  const upstream = told.attempts.flatMap(({ to, isSent }) =>
    isSent ? seen.splice(0, 1) : [{ to, head: NOTHING_SENT, body: "" }],
  );
  return { upstream: [...upstream, ...seen], mirrored: origins.mirrored, response: responseOfBytes(received), told };
}

const NOTHING_SENT: RequestHead = { method: "", scheme: "http", authority: "", target: "", fields: [], body: { kind: "none" } };

async function overTcp(bytes: string): Promise<string> {
  const client = new RawClient(ports.http);
  try {
    return await client.send(bytes).end();
  } finally {
    client.close();
  }
}

function overTls(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connectTls({ host: "127.0.0.1", port: ports.https, rejectUnauthorized: false }, () =>
      socket.write(bytes, "latin1"),
    );
    socket.on("data", (part) => (received += part.toString("latin1")));
    socket.on("end", () => resolve(received));
    socket.on("error", reject);
  });
}

/** The record is made when the body has gone, which may be after the client has it. */
async function toldAtEnd(): Promise<Told> {
  let told = (await (await control()).json()) as Told;
  for (let i = 0; told.record === null && i < 50; i++) told = (await (await control()).json()) as Told;
  return told;
}

/** What the test puts in the platform's mouth is not what the table's script said. */
function asSentence(test: Case): Case {
  const { reason, ...expected } = test.expect;
  return reason === "scripted" || reason === undefined ? { ...test, expect: expected } : test;
}

async function holds(test: Case): Promise<void> {
  const outcome = await run(test);
  compareSeen(test, outcome);
  if (outcome.told.record === null) throw new Error("no record was made");
  compareTold(asSentence(test), outcome.told.record, outcome.told.tookMs);
  expect(outcome.told.active, "requests still counted as in flight").toBe(0);
}

const startedMs = performance.now();
for (const [group, cases] of Object.entries({ ...CASES, generated: await generatedCases() })) {
  describe(group, () => {
    for (const test of cases) {
      const difference = differenceOf("workerd", group, test.name);
      if (difference?.kind === "impossible") continue;
      const play = difference === undefined ? it : it.fails;
      play(test.name, { timeout: 10_000 }, () => holds(test));
    }
  });
}

it("plays nearly all of the table, within MAX_TABLE_MS", () => {
  const all = Object.values(CASES).flat().length;
  const impossible = KNOWN_DIFFERENCES.filter(({ runtimes, kind }) => runtimes.includes("workerd") && kind === "impossible");
  const left = impossible.reduce((sum, { cases }) => sum + cases.length, 0);
  expect(all - left).toBeGreaterThan(0.97 * all);
  expect(performance.now() - startedMs).toBeLessThan(MAX_TABLE_MS);
});
