import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { loadServerIdentity } from "../../controlplane/distribute/index.ts";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import { eventually, freePort, okAnswer, RawClient, ScriptedOrigin, testListener, testSnapshot } from "../support/gateway.ts";
import { bytesByHash, egressConfig, egressRule, makeKey, manifestOf, signManifest, type TestKey } from "../support/snapshots.ts";

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;

let directory: string;
let key: TestKey;
const opened: { kill(): unknown }[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-gateway-"));
  key = await makeKey();
  return () => rmSync(directory, { recursive: true, force: true });
});
afterEach(() => {
  for (const one of opened.splice(0)) one.kill();
});

interface Running {
  readonly child: ChildProcess;
  readonly stderr: string;
  readonly exit: Promise<number | null>;
}

const run = (...flags: string[]): Running => runWith({}, ...flags);

function runWith(env: NodeJS.ProcessEnv, ...flags: string[]): Running {
  const child = spawn(process.execPath, [MAIN, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: directory,
    env: { ...process.env, ...env },
  });
  opened.push(child);
  const running = {
    child,
    stderr: "",
    exit: new Promise<number | null>((resolve) => child.once("exit", resolve)),
  };
  child.stderr.on("data", (bytes) => {
    running.stderr += String(bytes);
  });
  return running;
}

async function snapshotFile(name: string, snapshot: Snapshot, version = 1): Promise<string> {
  const chunks = chunkSnapshot(snapshot);
  const path = join(directory, name);
  const jws = await signManifest(manifestOf(chunks, { version }), [key]);
  await writeSnapshotFile(path, { jws, chunks: bytesByHash(chunks) });
  return path;
}

const ANY_PORTS = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];

describe("the gateway process", () => {
  it("adds what its secrets folder holds to requests that it takes on to TLS, in every thread", async () => {
    const host = "api.stripe.com";
    const identity = await loadServerIdentity(join(directory, "origin"), [host], Date.now());
    writeFileSync(join(directory, "origin.pem"), identity.ca);
    mkdirSync(join(directory, "held", "shop", "stripe"), { recursive: true });
    writeFileSync(join(directory, "held", "shop", "stripe", "token"), "s3cret\n");
    const seen: (string | undefined)[] = [];
    const origin = createHttps({ key: identity.privateKey, cert: identity.certificate }, ({ headers }, response) => {
      seen.push(headers.authorization);
      response.end("fine");
    });
    opened.push({ kill: () => origin.close() });
    await once(origin.listen(0, "127.0.0.1"), "listening");
    const { port } = origin.address() as AddressInfo;
    const proxy = await freePort();
    const rule = egressRule({
      hosts: [host],
      ports: [443],
      addresses: [{ cidr: "127.0.0.0/8", ports: [port] }],
      originate: { tls: "simple" },
      inject: [{ header: "authorization", secret: { namespace: "shop", name: "stripe", key: "token" }, prefix: "Bearer " }],
    });
    const base = egressConfig([rule]);
    const egress = {
      ...base,
      policies: base.policies.map((policy) => ({ ...policy, from: [{ kind: "ipBlock" as const, cidr: "127.0.0.0/8" }] })),
      // Where the name's own port 443 leads on this machine.
      staticHosts: [{ host, endpoints: [{ address: "127.0.0.1", port }] }],
    };
    const listener = { ...testListener(proxy), protocol: "forward-proxy" as const, servers: [] };
    const path = await snapshotFile("originating.json", { ...testSnapshot({ listeners: [listener], originPorts: [] }), egress });
    const gateway = runWith(
      { NODE_EXTRA_CA_CERTS: join(directory, "origin.pem") },
      ...["--snapshot", path, "--secrets", "held", "--threads", "2", ...ANY_PORTS],
    );
    await eventually(() => gateway.stderr.includes("snapshot in force"));
    const asked = 8;
    for (let i = 0; i < asked; i++) {
      const client = new RawClient(proxy);
      const answer = await client
        .send(`GET http://${host}/v1/x HTTP/1.1\r\nHost: ${host}\r\nAuthorization: mine\r\nConnection: close\r\n\r\n`)
        .end();
      expect(answer).toMatch(/^HTTP\/1.1 200 /);
      client.close();
    }
    expect(seen).toEqual(Array.from({ length: asked }, () => "Bearer s3cret"));
    expect(gateway.stderr).not.toContain("s3cret");
  });

  it("runs a snapshot file, shows itself, follows the file, and ends on SIGTERM", async () => {
    const origin = await new ScriptedOrigin((socket) => socket.write(okAnswer("served"))).start();
    opened.push({ kill: () => origin.stop() });
    const [port, second] = [await freePort(), await freePort()];
    const base = { originPorts: [origin.port], settings: { accessLog: { enabled: true, path: "-" } } };
    const path = await snapshotFile("run.json", {
      ...testSnapshot({ ...base, listeners: [testListener(port)] }),
      egress: egressConfig(),
    });
    const gateway = run("--snapshot", path, ...ANY_PORTS, "--threads", "2");
    await eventually(() => gateway.stderr.includes("snapshot in force"), 15_000);
    const started = JSON.parse(gateway.stderr.split("\n").find((line) => line.includes("gateway started")) ?? "{}");
    const client = new RawClient(port);
    expect(await client.send("GET /a HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/served$/);

    const ready = await fetch(`http://${started.readiness}/healthz/ready`);
    expect([ready.status, await ready.text()]).toEqual([200, "serving snapshot 1.1\n"]);
    const metrics = await (await fetch(`http://${started.metrics}/metrics`)).text();
    expect(metrics).toMatch(/istio_requests_total\{reporter="source",[^}]*destination_service="origin.test"[^}]*\} 1\n/);
    expect(metrics).toContain('tidegate_snapshot_info{version="1.1"} 1\n');
    const dump = await (await fetch(`http://${started.admin}/config_dump`)).text();
    expect(dump).toContain('"passwordHash": "[redacted]"');
    expect(dump).not.toContain("scrypt");
    const listeners = await (await fetch(`http://${started.admin}/listeners`)).json();
    expect(listeners).toMatchObject({ listeners: [{ name: `127.0.0.1:${port}`, protocol: "http", connections: 1 }] });
    expect((await fetch(`http://${started.admin}/drain`, { method: "POST" })).status).toBe(403);

    await snapshotFile("run.json", testSnapshot({ ...base, listeners: [testListener(port), testListener(second)] }), 2);
    await eventually(() => gateway.stderr.includes('"version":"1.2"'));
    const other = new RawClient(second);
    expect(await other.send("GET /b HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/served$/);

    writeFileSync(path, "{ half a");
    await eventually(() => gateway.stderr.includes("the snapshot file cannot be used"));
    expect(await client.send("GET /c HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/served$/);

    gateway.child.kill("SIGTERM");
    expect(await gateway.exit).toBe(0);
  });

  it("refuses unknown flags with a suggestion and exit code 2", async () => {
    const gateway = run("--treads", "3", "--admin-port", "x");
    expect(await gateway.exit).toBe(2);
    expect(gateway.stderr).toBe(
      '--treads: there is no such flag; did you mean --threads?\n--admin-port: "x" is not a whole number from 0 to 65535\n',
    );
  });

  it("names a busy port and exits", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => holder.once("listening", resolve));
    opened.push({ kill: () => holder.close() });
    const { port } = holder.address() as { port: number };
    const path = await snapshotFile("busy.json", testSnapshot({ listeners: [], originPorts: [1] }));
    const gateway = run("--snapshot", path, "--metrics-port", "0", "--readiness-port", "0", "--admin-port", String(port));
    expect(await gateway.exit).toBe(1);
    expect(gateway.stderr).toBe(`admin port 127.0.0.1:${port} is in use by another process: choose another with --admin-port\n`);
  });

  it("says what is wrong with a state directory, a join token and a snapshot file", async () => {
    writeFileSync(join(directory, "file"), "tg1.???");
    const state = run("--state", join(directory, "file", "state"), ...ANY_PORTS);
    expect(await state.exit).toBe(1);
    expect(state.stderr).toMatch(/^state directory .*; give a directory that this user can write to with --state\n$/);
    const token = run("--join-token-file", join(directory, "file"), ...ANY_PORTS);
    expect(await token.exit).toBe(1);
    expect(token.stderr).toMatch(/^join token .*file: /);
    const snapshot = run("--snapshot", join(directory, "gone.json"), ...ANY_PORTS);
    expect(await snapshot.exit).toBe(1);
    expect(snapshot.stderr).toContain("the snapshot file cannot be used");
  });
});
