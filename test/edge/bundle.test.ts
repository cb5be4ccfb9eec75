/** What is put on Cloudflare: both Workers as wrangler bundles them, held to their size, to what may be in them, and to a start that costs little. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleProblem, exampleWranglerToml, MAX_WORKER_GZIP_BYTES } from "../../controlplane/edge/index.ts";
import { freePort } from "../support/gateway.ts";
import { startWorkerd, type TestWorker } from "../support/workerd.ts";
import { cpuMicros } from "../tools/processes.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
/** Workers gives a script one second to start; an isolate that takes a tenth of it is no burden on its first request. */
const START_CPU_MS = 100;
const OFFLINE = { WRANGLER_SEND_METRICS: "false", WRANGLER_SEND_ERROR_REPORTS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" };

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-bundle-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it("wrangler.toml is what the code makes", () => {
  const file = join(ROOT, "wrangler.toml");
  if (process.env["UPDATE_WRANGLER"] === "1") writeFileSync(file, exampleWranglerToml());
  expect(readFileSync(file, "utf8")).toBe(exampleWranglerToml());
});

const OBJECTS = {
  ingress: ["RELAY (SnapshotRelay)", "BANK (QuotaBank)", "TUNNELS (TunnelHub)"],
  egress: ["RELAY (SnapshotRelay, defined in tidegate-example-ingress)", "BANK (QuotaBank, defined in tidegate-example-ingress)"],
} as const;

describe.each(["ingress", "egress"] as const)("the %s Worker", (environment) => {
  it(`deploys dry within ${MAX_WORKER_GZIP_BYTES} bytes compressed, without codec or Node`, () => {
    const out = join(directory, environment);
    const meta = join(out, "meta.json");
    const args = ["deploy", "--dry-run", "--env", environment, "--outdir", out, "--metafile", meta];
    const said = execFileSync("wrangler", args, { cwd: ROOT, encoding: "utf8", env: { ...process.env, ...OFFLINE } });
    for (const object of OBJECTS[environment]) expect(said).toContain(`env.${object}`);
    const { inputs } = JSON.parse(readFileSync(meta, "utf8")) as { inputs: Record<string, unknown> };
    const gzipBytes = gzipSync(readFileSync(join(out, `${environment}.js`))).byteLength;
    expect(Object.keys(inputs)).toContain(`gateway/edge/${environment}.ts`);
    expect(bundleProblem({ gzipBytes, inputs: Object.keys(inputs) })).toBeUndefined();
  });

  it(`starts with at most ${START_CPU_MS} ms of CPU`, async () => {
    const bare = await startCost("bare", { name: "bare", entry: "test/edge/workers/hello.ts", bindings: {} });
    const own = await startCost(environment, { name: environment, entry: `gateway/edge/${environment}.ts`, bindings: {} });
    expect(own - bare).toBeLessThanOrEqual(START_CPU_MS);
  });
});

/** CPU of a workerd from nothing to its first answer, whatever that is. */
async function startCost(name: string, worker: TestWorker): Promise<number> {
  const port = await freePort();
  const running = await startWorkerd(join(directory, `start-${name}`), {
    workers: [worker],
    sockets: [{ name: "http", address: `127.0.0.1:${port}`, service: worker.name }],
  });
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    await answer.arrayBuffer();
    return cpuMicros(running.pid) / 1000;
  } finally {
    await running.stop();
  }
}
