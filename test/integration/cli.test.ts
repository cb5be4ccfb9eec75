/** The command line against real processes: a control plane, ingress gateways and an origin. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ChangeResponse, JoinTokenResponse, StatusResponse } from "../../controlplane/api/index.ts";
import { type Ran, ROOT, runNode, tidegate } from "../support/command.ts";
import { freePort, listening } from "../support/gateway.ts";
import { TestMesh } from "../support/mesh.ts";
import { shopBase } from "../support/shop.ts";
import { type Running, start } from "../tools/processes.ts";

let directory: string;
let mesh: TestMesh;
let origin: HttpServer;
let originPort: number;
let state: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-cli-"));
  state = join(directory, "control");
  origin = createHttpServer((request, response) => {
    if (request.url?.endsWith("/fail")) response.statusCode = 500;
    response.end(`${request.url}\n`);
  });
  originPort = await listening(origin);
  mesh = await TestMesh.prepare({ directory, declared: [80] });
  writeFileSync(join(mesh.config, "base.yaml"), shopBase(originPort));
  await mesh.startControl();
  await mesh.startGateway("ingress");
  await mesh.untilSynced(1);
});

afterAll(async () => {
  await mesh?.stop();
  origin?.close();
  rmSync(directory, { recursive: true, force: true });
});

const route = (prefix: string) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec:
  hosts: ["*"]
  gateways: [front]
  http:
    - name: main
      match: [{ uri: { prefix: ${prefix} } }]
      route: [{ destination: { host: origin.shop.local, port: { number: 80 } } }]
`;

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

/** With the address and the token of the mesh under test. */
const asked = (...args: string[]): Promise<Ran> =>
  tidegate([...args, "--api", `http://127.0.0.1:${mesh.ports.api}`, "--token-file", join(state, "api.token")]);
const fetched = async (path: string) => (await fetch(`http://127.0.0.1:${mesh.ports.ingress[80]}${path}`)).status;

describe("a change and the way back", () => {
  test("apply --wait returns when the gateway enforces it", async () => {
    const ran = await asked("apply", "-f", file("route.yaml", route("/one")), "--wait");
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/VirtualService +shop +shop +created/);
    expect(ran.out).toMatch(/enforced by 1 gateway after \d+ ms/);
    expect([await fetched("/one"), await fetched("/two")]).toEqual([200, 404]);
  });

  test("get lists it with its status, in three formats", async () => {
    const listed = await asked("get", "vs");
    expect(listed.out).toMatch(/VirtualService +shop +shop +accepted +ingress@1\.\d+/);
    const json = JSON.parse((await asked("get", "vs", "shop", "-n", "shop", "-o", "json")).out);
    expect(json).toMatchObject({ kind: "VirtualService", status: { accepted: true }, spec: { gateways: ["front"] } });
    expect((await asked("get", "vs", "-o", "yaml")).out).toContain("kind: VirtualService");
    const missing = await asked("get", "vs", "nothing");
    expect(missing).toMatchObject({ code: 1, out: "" });
    expect(missing.err).toContain("no VirtualService nothing");
  });

  test("get endpoints: as the gateway finds them, and what it has ejected", async () => {
    const shown = await asked("get", "endpoints");
    expect(shown.out).toMatch(new RegExp(`ingress +origin\\.shop\\.local:80 +127\\.0\\.0\\.1:${originPort} +healthy`));
    const strict = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: strict, namespace: shop }
spec:
  host: origin.shop.local
  trafficPolicy:
    outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100, baseEjectionTime: 1h }
`;
    expect(await asked("apply", "-f", file("strict.yaml", strict), "--wait")).toMatchObject({ code: 0 });
    expect(await fetched("/one/fail")).toBe(500);
    expect(await fetched("/one")).toBe(503);
    const untilMs = Date.now() + 30_000;
    let items: { state: string }[] = [];
    while (items[0]?.state !== "ejected" && Date.now() < untilMs)
      items = JSON.parse((await asked("get", "endpoints", "origin", "--pool", "ingress", "-o", "json")).out) as {
        state: string;
      }[];
    expect(items).toEqual([
      expect.objectContaining({ host: "origin.shop.local", port: originPort, state: "ejected", reason: "consecutive-5xx" }),
    ]);
    expect(await asked("delete", "dr", "strict", "-n", "shop", "--wait")).toMatchObject({ code: 0 });
    expect(await fetched("/one")).toBe(200);
    expect((await asked("get", "endpoints", "nobody")).err).toContain("no such endpoints");
  });

  test("diff tells what would change and changes nothing", async () => {
    const ran = await asked("diff", "-f", file("route.yaml", route("/two")));
    expect(ran.code).toBe(4);
    expect(ran.out).toContain("VirtualService shop/shop: updated");
    expect(ran.out).toMatch(/- spec\.http\[0\]\.match\[0\]\.uri\.prefix: \/one/);
    expect(ran.out).toMatch(/\+ spec\.http\[0\]\.match\[0\]\.uri\.prefix: \/two/);
    expect(await fetched("/two")).toBe(404);
    const same = await asked("diff", "-f", file("route.yaml", route("/one")));
    expect(same).toMatchObject({ code: 0, out: "", err: "" });
  });

  test("snapshot show, diff and rollback", async () => {
    const before = await newest();
    await asked("apply", "-f", file("route.yaml", route("/two")), "--wait");
    expect([await fetched("/one"), await fetched("/two")]).toEqual([404, 200]);
    const after = await newest();
    expect((await asked("snapshot", "show")).out).toMatch(new RegExp(`ingress +${after} +in force`));
    expect((await asked("snapshot", "show", `ingress@${after}`)).out).toContain(`snapshot ${after} of pool ingress`);
    const diff = await asked("snapshot", "diff", `ingress@${before}`, `ingress@${after}`);
    expect(diff).toMatchObject({ code: 0 });
    expect(diff.out).toMatch(/^~ route .*shop\/shop\/main\n$/);
    const back = await asked("snapshot", "rollback", `ingress@${before}`, "--wait");
    expect(back).toMatchObject({ code: 0, err: "" });
    expect([await fetched("/one"), await fetched("/two")]).toEqual([200, 404]);
    const nowhere = await asked("snapshot", "rollback", "ingress@1.99");
    expect(nowhere.code).toBe(1);
    expect(nowhere.err).toContain("there is no snapshot 1.99 of pool ingress");
    const elsewhere = await asked("snapshot", "show", "nowhere@1.1");
    expect(elsewhere.err).toContain("there is no snapshot 1.1 of pool nowhere");
  });

  test("delete takes it away; what is not there is an error", async () => {
    await asked("apply", "-f", file("route.yaml", route("/three")), "--wait");
    const ran = await asked("delete", "vs", "shop", "-n", "shop", "--wait");
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/shop +deleted/);
    expect(await fetched("/three")).toBe(404);
    const again = await asked("delete", "vs", "shop", "-n", "shop");
    expect(again.code).toBe(1);
    expect(again.out).toMatch(/missing/);
  });

  test("status: the gateway, its version, since when", async () => {
    const ran = await asked("status");
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/ingress +ingress-1 +synced +1\.\d+ +\d+s/);
    const json: StatusResponse = JSON.parse((await asked("status", "-o", "json")).out);
    expect(json.pools.map(({ name }) => name)).toEqual(["ingress", "egress"]);
  });
});

describe("explain", () => {
  test("against the running gateway and against a file: the same answer", async () => {
    await asked("apply", "-f", file("route.yaml", route("/one")), "--wait");
    const url = `http://127.0.0.1:${mesh.ports.ingress[80]}/one/more`;
    const live = await tidegate(["explain", url, "--gateway", `http://127.0.0.1:${mesh.ports.admin.ingress}`]);
    expect(live).toMatchObject({ code: 0, err: "" });
    expect(live.out).toMatch(/route +shop\/shop\/main/);
    expect(live.out).toContain(`127.0.0.1:${originPort}`);
    const built = await buildFile("/one");
    const offline = await tidegate(["explain", url, "--snapshot", built]);
    expect(withoutVersion(offline.out)).toBe(withoutVersion(live.out));
    const nowhere = await tidegate(["explain", url, "--gateway", `http://127.0.0.1:${await freePort()}`]);
    expect(nowhere.code).toBe(1);
    expect(nowhere.err).toContain("no gateway's admin port at");
  });
});

describe("keys and snapshots without a control plane", () => {
  test("init, show, build, verify, and a file that somebody changed", async () => {
    const built = await buildFile("/one");
    const keys = join(directory, "offline");
    const shown = JSON.parse((await tidegate(["keys", "show", "--state", keys, "-o", "json"])).out);
    expect(shown).toMatchObject({ version: 1, iss: "cluster.local" });
    const verify = (path: string, pool = "ingress") => tidegate(["snapshot", "verify", path, "--pool", pool, "--state", keys]);
    const good = await verify(built);
    expect(good).toMatchObject({ code: 0, err: "" });
    expect(good.out).toContain("accepted: snapshot 1.1 of pool ingress");
    const other = await verify(built, "egress");
    expect(other.code).toBe(1);
    expect(other.out).toContain("refused (wrong_audience)");
    const content = JSON.parse(readFileSync(built, "utf8"));
    const payload = Buffer.from(content.manifest.payload, "base64url").toString().replace('"version":1', '"version":9');
    const manifest = { ...content.manifest, payload: Buffer.from(payload).toString("base64url") };
    const forged = await verify(file("forged.snapshot", JSON.stringify({ ...content, manifest })));
    expect(forged.code).toBe(1);
    expect(forged.out).toContain("refused (bad_signature)");
    const again = await tidegate(["keys", "init", "--state", keys]);
    expect(again.code).toBe(1);
    expect(again.err).toContain("keys");
  });
});

describe("a running mesh", () => {
  test("keys rotate: the control plane notices, gateways follow without a restart", async () => {
    const rotated = await tidegate(["keys", "rotate", "--replace", "all", "--state", state, "-o", "json"]);
    expect(rotated).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(rotated.out).version).toBe(2);
    const version = await signedByNewRoot(JSON.parse(rotated.out).signers);
    const status = await mesh.untilSynced(1);
    expect(status.pools[0]?.gateways[0]).toMatchObject({ state: "synced", version });
    const ran = await asked("apply", "-f", file("route.yaml", route("/rotated")), "--wait");
    expect(ran.code).toBe(0);
    expect(await fetched("/rotated")).toBe(200);
  });

  test("two gateways, one without its port: apply --wait and status tell which and why", async () => {
    const second = await secondGateway();
    try {
      const status = await until(
        () => asked("status"),
        (ran) => ran.out.includes("partial"),
      );
      expect(status.code).toBe(3);
      expect(status.out).toMatch(/ingress-1 +synced/);
      expect(status.out).toMatch(
        new RegExp(`ingress-2 +partial .*127\\.0\\.0\\.1:${mesh.ports.ingress[80]} is in use by another process`),
      );
      const ran = await asked("apply", "-f", file("route.yaml", route("/both")), "--wait");
      expect(ran.code).toBe(3);
      expect(ran.out).toContain("not enforced everywhere:");
      expect(ran.out).toMatch(/ingress-2 +partial .*is in use by another process: stop that, or choose another port/);
      expect(await fetched("/both")).toBe(200);
      const json: ChangeResponse = JSON.parse(
        (await asked("apply", "-f", file("route.yaml", route("/again")), "--wait", "-o", "json")).out,
      );
      expect(json.enforced?.complete).toBe(false);
    } finally {
      await second.stop();
    }
  });

  test("keys revoke: the gateway's stream ends and the name is gone", async () => {
    const ran = await asked("keys", "revoke", "ingress-2");
    expect(ran).toMatchObject({ code: 0, err: "" });
    const again = await asked("keys", "revoke", "ingress-2");
    expect(again.code).toBe(1);
    expect(again.err).toContain("there is no gateway ingress-2; gateways: ingress-1");
  });

  test("a gateway with the command line's variables in its shell runs", async () => {
    const ran = await runNode([join(ROOT, "gateway/node/main.ts"), "--snapshot", join(directory, "none"), ...NO_PORTS], {
      env: { TIDEGATE_API: "http://127.0.0.1:1", TIDEGATE_TOKEN: "secret", TIDEGATE_CONFIG: "x" },
    });
    expect(ran.err).not.toContain("TIDEGATE_");
    expect(ran.err).toContain("the snapshot file cannot be used");
  });
});

const NO_PORTS = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];

describe("up", () => {
  test("names every port that is taken before anything starts", async () => {
    const busy: Server = createServer();
    const port = await listening(busy);
    const folder = mkdtempSync(join(directory, "up-"));
    writeFileSync(join(folder, "mesh.yaml"), pools(port, mesh.ports.api));
    const ran = await tidegate(["up", folder, "--state", join(folder, ".state"), "--port-offset", "4500"]);
    busy.close();
    expect(ran.code).toBe(1);
    expect(ran.err.trim().split("\n")).toEqual([
      expect.stringContaining(`port 127.0.0.1:${port} for pool front is in use by another process: stop what has it, or choose`),
      expect.stringContaining(`port 127.0.0.1:${mesh.ports.api} for pool out is in use by another process`),
    ]);
  });

  test("tells where the gateways listen, and ends by SIGTERM", async () => {
    const folder = mkdtempSync(join(directory, "up-"));
    const [http, proxy] = [await freePort(), await freePort()];
    writeFileSync(join(folder, "mesh.yaml"), pools(http, proxy));
    let out = "";
    const running = start("up", upCommand(folder, "4600"), { cwd: ROOT, onLine: (line) => (out += `${line}\n`) });
    try {
      await until(
        async () => out,
        (text) => text.includes("Ctrl-C stops everything"),
      );
      expect(out).toMatch(new RegExp(`out proxy +http://127\\.0\\.0\\.1:${proxy}`));
      expect(out).toMatch(new RegExp(`front +http://127\\.0\\.0\\.1:${http}\\n`));
      expect(out).toContain("http://127.0.0.1:19680");
      expect(out).not.toContain("productpage");
    } finally {
      await running.stop();
    }
    expect(running.child.exitCode).toBe(0);
  });

  test("a program that ends while everything comes up ends it all, with its last word", async () => {
    const folder = mkdtempSync(join(directory, "up-"));
    writeFileSync(join(folder, "mesh.yaml"), pools(await freePort(), await freePort()));
    const command = ["node", "-e", "console.error('no such database'); process.exit(7)"];
    writeFileSync(join(folder, "up.json"), JSON.stringify({ config: ".", run: [{ name: "shop", command }] }));
    const [, ...args] = upCommand(folder, "4700");
    const ran = await runNode(args);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain("shop ended (exit code 7): no such database");
  });

  const upCommand = (folder: string, offset: string): string[] => [
    process.execPath,
    join(ROOT, "controlplane/cli/main.ts"),
    ...["up", folder, "--state", join(folder, ".state"), "--port-offset", offset],
  ];
});

const pools = (http: number, proxy: number) => `apiVersion: mesh.tidegate.dev/v1
kind: MeshConfig
metadata: { name: mesh, namespace: tidegate-system }
spec:
  gatewayPools:
    - { name: front, labels: { istio: ingressgateway }, ports: { "80": ${http} } }
    - { name: out, role: egress, labels: { istio: egressgateway }, forwardProxyPort: ${proxy} }
---
${shopBase(originPort)}`;

async function newest(): Promise<string> {
  const { pools: all } = await mesh.api.get<StatusResponse>("/status");
  return all.find(({ name }) => name === "ingress")?.version ?? "";
}

async function buildFile(prefix: string): Promise<string> {
  const keys = join(directory, "offline");
  await tidegate(["keys", "init", "--state", keys]);
  const out = join(directory, "built.snapshot");
  const route_ = file("build-route.yaml", route(prefix));
  const ran = await tidegate([
    "snapshot",
    "build",
    "-f",
    mesh.config,
    "-f",
    route_,
    "--pool",
    "ingress",
    "--state",
    keys,
    "--out",
    out,
  ]);
  if (ran.code !== 0) throw new Error(ran.err);
  return out;
}

const withoutVersion = (text: string) => text.replace(/^snapshot .*$/m, "");

/** Version of the ingress pool's first snapshot that the new keys signed. */
async function signedByNewRoot(signers: readonly string[]): Promise<string> {
  const answer = await until(
    async () => JSON.parse((await asked("snapshot", "show", `ingress@${await newest()}`, "-o", "json")).out),
    ({ signatures }: { signatures: string[]; manifest: { epoch: number; version: number } }) =>
      signatures.every((kid) => signers.includes(kid)),
  );
  const { epoch, version } = answer.manifest;
  return `${epoch}.${version}`;
}

async function secondGateway(): Promise<Running> {
  const { token } = await mesh.api.post<JoinTokenResponse>("/join-tokens", { pool: "ingress" });
  return start("second", [
    process.execPath,
    join(ROOT, "gateway/node/main.ts"),
    ...["--gateway-id", "ingress-2", "--control", `127.0.0.1:${mesh.ports.grpc}`, "--state", join(directory, "second")],
    ...["--join-token-file", file("second.token", token), ...NO_PORTS],
  ]);
}

async function until<T>(ask: () => Promise<T>, fits: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await ask();
    if (fits(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`it never came: ${JSON.stringify(answer)}\n${mesh.output()}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
