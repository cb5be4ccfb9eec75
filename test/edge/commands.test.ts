/** `tidegate edge` as a shell runs it, against a real control plane: secrets, a folder that workerd runs from, a site for development, a dry deployment. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { workerdBinary } from "../../controlplane/edge/index.ts";
import { ROOT, tidegate } from "../support/command.ts";
import { freePort } from "../support/gateway.ts";
import { TestMesh } from "../support/mesh.ts";
import { accepts, type Running, start, untilPort } from "../tools/processes.ts";

const OFFLINE = { WRANGLER_SEND_METRICS: "false", WRANGLER_SEND_ERROR_REPORTS: "false", CI: "1", CLOUDFLARE_API_TOKEN: "" };

let directory = "";
let mesh: TestMesh;
let port = 0;
let started: Running | undefined;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-edge-commands-"));
  port = await freePort();
  mesh = await TestMesh.prepare({ directory, declared: [80] });
  writeFileSync(join(mesh.config, "sites.yaml"), sites());
  await mesh.startControl();
});

afterAll(async () => {
  await started?.stop();
  await mesh?.stop();
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
});

it("makes the secrets of a site, where only their owner reads them", async () => {
  for (const site of ["local", "europe"]) {
    const { code, out, err } = await edge("keys", site);
    expect([code, err]).toEqual([0, ""]);
    expect(out.match(/ made /g)).toHaveLength(4);
  }
  const folder = join(directory, "control", "secrets", "test", "local");
  for (const file of readdirSync(folder)) expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
});

it("writes a folder that workerd runs from as its README says, with the secrets in one private file", async () => {
  const out = join(directory, "site");
  const { code, err } = await edge("config", "local", "--out", out, "--listen", `127.0.0.1:${port}`);
  expect([code, err]).toEqual([0, ""]);
  const secret = readFileSync(join(directory, "control", "secrets", "test", "local", "relay-token"), "utf8").trim();
  const holders = readdirSync(out, { withFileTypes: true })
    .filter((entry) => entry.isFile() && readFileSync(join(out, entry.name), "utf8").includes(secret))
    .map(({ name }) => name);
  expect(holders).toEqual(["edge.env"]);
  expect(statSync(join(out, "edge.env")).mode & 0o777).toBe(0o600);
  const [, commands = ""] = /```sh\n([\s\S]*?)```/.exec(readFileSync(join(out, "README.md"), "utf8")) ?? [];
  const binary = workerdBinary();
  const script = commands.replace("npx workerd", `exec ${binary.ok ? binary.value : ""}`);
  started = start("site", ["bash", "-c", script], { cwd: out });
  await untilPort(started, port);
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBeGreaterThan(0);
  await started.stop();
});

it("runs a site for development, and ends it whole", async () => {
  started = start("dev", [process.execPath, join(ROOT, "controlplane/cli/main.ts"), "edge", "dev", "local", ...common()]);
  await untilPrinted(started, `http://127.0.0.1:${port}`);
  expect(await accepts(port)).toBe(true);
  await started.stop("SIGINT");
  expect(started.child.exitCode, started.output()).toBe(0);
  expect(await accepts(port)).toBe(false);
});

it("deploys dry, without an account, and shows no secret", async () => {
  const { code, out, err } = await edge("deploy", "europe", "--dry-run", "-o", "json");
  expect(code, err).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    ...{ site: "europe", dryRun: true },
    workers: [
      { worker: "tidegate-europe-ingress", secrets: ["RELAY_TOKEN", "BANK_TOKEN", "TUNNEL_TOKEN", "PASSPORT_KEY"] },
      { worker: "tidegate-europe-egress" },
    ],
  });
  expect(err).toContain('env.SITE_HOST ("edge-eu.example.com")');
  for (const key of ["relay-token", "passport-key"]) {
    expect(out + err).not.toContain(readFileSync(join(directory, "control", "secrets", "test", "europe", key), "utf8").trim());
  }
});

it("says what an account is needed for when there is none", async () => {
  const { code, err } = await edge("deploy", "europe");
  expect([code, err]).toEqual([1, expect.stringContaining("there is no Cloudflare account to deploy to: log in once")]);
});

it("says where a control plane is looked for when there is none", async () => {
  const { code, err } = await tidegate(["edge", "keys", "local", "--api", "http://127.0.0.1:9"]);
  expect([code, err]).toEqual([1, expect.stringContaining("no control plane at http://127.0.0.1:9")]);
});

function common(): string[] {
  const control = join(directory, "control");
  return ["--state", control, "--api", `http://127.0.0.1:${mesh.ports.api}`, "--token-file", join(control, "api.token")];
}

function edge(...args: string[]): ReturnType<typeof tidegate> {
  return tidegate(["edge", ...args, ...common()], { env: { ...OFFLINE, HOME: directory, XDG_CONFIG_HOME: directory } });
}

async function untilPrinted(running: Running, text: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!running.output().includes(text) || !running.output().includes("Ctrl-C")) {
    if (running.child.exitCode !== null || performance.now() > deadline) throw new Error(running.output());
    await new Promise((done) => setTimeout(done, 50));
  }
}

function sites(): string {
  return `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: mesh.tidegate.dev/v1
kind: EdgeSite
metadata: { name: local, namespace: test }
spec: { url: "http://127.0.0.1:${port}", runtime: workerd, gateways: [{ name: front }] }
---
apiVersion: mesh.tidegate.dev/v1
kind: EdgeSite
metadata: { name: europe, namespace: test }
spec: { url: "https://edge-eu.example.com", gateways: [{ name: front }] }
`;
}
