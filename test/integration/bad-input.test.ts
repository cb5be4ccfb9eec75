/** Bad input to the programs: one clear message with place and remedy, the right exit code, and what was running stays as it was. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StatusResponse } from "../../controlplane/api/index.ts";
import { TestAuthority } from "../support/authority.ts";
import { type Ran, ROOT, runNode, tidegate } from "../support/command.ts";
import { freePort, listening } from "../support/gateway.ts";
import { TestMesh } from "../support/mesh.ts";
import { shopBase } from "../support/shop.ts";
import { type Running, start, untilPort } from "../tools/processes.ts";

let directory: string;
let mesh: TestMesh;
let origin: HttpServer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-bad-"));
  origin = createHttpServer((_, response) => response.end("still here\n"));
  const port = await listening(origin);
  mesh = await TestMesh.prepare({ directory, declared: [80, 443] });
  writeFileSync(join(mesh.config, "good.yaml"), good(port));
  await mesh.startControl();
  await mesh.startGateway("ingress");
  await mesh.untilSynced(1);
});

afterAll(async () => {
  await mesh?.stop();
  origin?.close();
  rmSync(directory, { recursive: true, force: true });
});

const good = (port: number) => `${shopBase(port)}---
${service("good", "/good")}`;

const service = (name: string, prefix: string, extra = "") => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name}, namespace: shop }
spec:
  hosts: ["*"]
  gateways: [front]
  http:
    - match: [{ uri: { prefix: ${prefix} } }]
      route: [{ destination: { host: origin.shop.local, port: { number: 80 } } }]
${extra}`;

let files = 0;
function file(text: string | Buffer): string {
  const path = join(directory, `input-${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}

const asked = (...args: string[]): Promise<Ran> =>
  tidegate([...args, "--api", `http://127.0.0.1:${mesh.ports.api}`, "--token-file", join(directory, "control", "api.token")]);
const fetched = async (path: string) => (await fetch(`http://127.0.0.1:${mesh.ports.ingress[80]}${path}`)).status;

describe("objects", () => {
  const http = "spec.http[0]";
  test.each<[what: string, text: string, line: string]>([
    ["YAML that does not parse", "a: [1\nb: 2\n", ":2:1: "],
    ["a kind that nobody knows", "apiVersion: mesh.tidegate.dev/v1\nkind: Qouta\nmetadata: { name: x }\n", ":2:7: "],
    [
      "an unknown field",
      service("bad", "/bad").replace("    - match:", "    - retires: 1\n      match:"),
      `:8:7: VirtualService shop/bad: ${http}.retires:`,
    ],
    ["a wrong type", service("bad", "/bad").replace('hosts: ["*"]', "hosts: all"), ":5:10: VirtualService shop/bad: spec.hosts:"],
    ["a name that is no name", service("Bad_Name", "/bad"), "metadata.name"],
  ])("%s: refused with its place, exit code 1, and nothing else changes", async (_, text, line) => {
    const path = file(text);
    const ran = await asked("apply", "-f", path);
    expect(ran.code).toBe(1);
    expect(ran.out + ran.err).toContain(path);
    expect(ran.out + ran.err).toContain(line);
    expect(await fetched("/good")).toBe(200);
    expect(await fetched("/bad")).toBe(404);
    // Without a control plane the answer is the same.
    const offline = await tidegate(["validate", path]);
    expect(offline.code).toBe(1);
    expect(offline.out).toContain(line);
  });

  test("the same object twice: refused with its place by the API; in a folder both places are told", async () => {
    const path = file(`${service("twice", "/bad")}---\n${service("twice", "/bad2")}`);
    const ran = await asked("apply", "-f", path);
    expect(ran.code).toBe(1);
    expect(ran.out).toContain(
      `${path}:3:19: VirtualService shop/twice: metadata.name: the text defines the object more than once`,
    );
    const offline = await tidegate(["validate", path]);
    expect(offline.out).toContain("the object is defined again at");
    expect(offline.out).toContain("the object is defined already at");
    expect([await fetched("/bad"), await fetched("/bad2")]).toEqual([404, 404]);
  });

  test("bytes that are no text", async () => {
    const path = file(Buffer.from([0x6b, 0xff, 0xfe, 0x00, 0x0a]));
    const ran = await asked("apply", "-f", path);
    expect(ran.code).toBe(1);
    expect(ran.out + ran.err).toContain(path);
  });

  test("all problems of a set at once; the good ones of it are in force", async () => {
    const bad = service("bad", "/bad", "      timeout: soon\n").replace('hosts: ["*"]', "hosts: all");
    const ran = await asked("apply", "-f", file(`${bad}---\n${service("extra", "/extra")}`), "--wait");
    expect(ran.code).toBe(1);
    expect(ran.out).toContain("spec.hosts:");
    expect(ran.out).toContain(`${http}.timeout:`);
    expect(ran.out).toMatch(/extra +created/);
    expect([await fetched("/extra"), await fetched("/bad")]).toEqual([200, 404]);
  });

  test("a reference to nothing is told; what it does not touch works", async () => {
    const text = service("lost", "/lost").replace("origin.shop.local", "nobody.shop.local");
    const ran = await asked("apply", "-f", file(text), "--wait");
    expect(ran.out).toMatch(/VirtualService shop\/lost: spec\.http\[0\]\.route\[0\]\.destination.*nobody\.shop\.local/);
    const gone = service("gateless", "/gateless").replace("[front]", "[back]");
    expect((await asked("apply", "-f", file(gone))).out).toMatch(/VirtualService shop\/gateless: spec\.gateways.*back/);
    expect(await fetched("/good")).toBe(200);
  });

  test("certificate files that are not there are named; the other servers stay", async () => {
    const text = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: secure, namespace: shop }
spec:
  selector: { istio: ingressgateway }
  servers:
    - port: { number: 443, name: https, protocol: HTTPS }
      hosts: ["*"]
      tls: { mode: SIMPLE, serverCertificate: /nowhere/tls.crt, privateKey: /nowhere/tls.key }
`;
    const ran = await asked("apply", "-f", file(text));
    expect(ran.code).toBe(1);
    expect(ran.out).toMatch(/Gateway shop\/secure: spec\.servers\[0\]\.tls\.serverCertificate: .*\/nowhere\/tls\.crt/);
    expect(ran.out).toMatch(/spec\.servers\[0\]\.tls\.privateKey: .*\/nowhere\/tls\.key/);
    expect(await fetched("/good")).toBe(200);
  });

  test("certificate files that go bad under way: status says which and why, the port lives on, and it ends when they are good", async () => {
    const [authority, path] = [await TestAuthority.create(), (name: string) => join(directory, name)];
    const issued = await authority.issue({ commonName: "shop" });
    writeFileSync(path("shop.key"), issued.key);
    writeFileSync(path("shop.crt"), issued.certificate);
    const text = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: tls, namespace: shop }
spec:
  selector: { istio: ingressgateway }
  servers:
    - port: { number: 443, name: https, protocol: HTTPS }
      hosts: ["*"]
      tls: { mode: SIMPLE, serverCertificate: ${path("shop.crt")}, privateKey: ${path("shop.key")} }
    - port: { number: 443, name: secret, protocol: HTTPS }
      hosts: [secret.example.com]
      tls: { mode: SIMPLE, credentialName: missing }
`;
    expect((await asked("apply", "-f", file(text))).code).toBe(0);
    const port = mesh.ports.ingress[443] ?? 0;
    const told = async (wanted: RegExp) => {
      const ran = await until(
        () => asked("status"),
        ({ out }) => wanted.test(out),
      );
      expect(ran.code).toBe(3);
      expect(await handshake(port)).toBe("shop");
      return ran.out;
    };
    const missing = /shop\/tls\/secret: certificate \S+\/secrets\/shop\/missing\/tls\.crt cannot be read: it does not exist/;
    await told(missing);
    writeFileSync(path("shop.crt"), "half a fi");
    const out = await told(/shop\.crt is not a PEM certificate; what was read before stays in force/);
    expect(out).toMatch(missing);
    const secrets = path("ingress/secrets/shop/missing");
    mkdirSync(secrets, { recursive: true });
    writeFileSync(join(secrets, "tls.key"), issued.key);
    writeFileSync(join(secrets, "tls.crt"), issued.certificate);
    writeFileSync(path("shop.crt"), issued.certificate);
    const status = await until(
      () => asked("status"),
      ({ code }) => code === 0,
    );
    expect(status.out).toMatch(/ingress-1 +synced/);
    expect((await asked("delete", "gateway", "tls", "-n", "shop")).code).toBe(0);
  });

  test("a broken file in the watched directory: its last good content stays in force, and status says where it broke", async () => {
    const path = join(mesh.config, "watched.yaml");
    writeFileSync(path, service("watched", "/watched"));
    await until(
      () => fetched("/watched"),
      (code) => code === 200,
    );
    writeFileSync(path, service("watched", "/changed").replace("hosts:", "hosts: all\n  hots:"));
    const status = await until(
      () => mesh.api.get<StatusResponse>("/status"),
      ({ problems }) => problems.some(({ source }) => source.file.endsWith("watched.yaml")),
    );
    expect(status.problems.find(({ source }) => source.file.endsWith("watched.yaml"))?.source.line).toBeGreaterThan(0);
    expect([await fetched("/watched"), await fetched("/changed")]).toEqual([200, 404]);
    rmSync(path);
    await until(
      () => fetched("/watched"),
      (code) => code === 404,
    );
  });

  test("files that are not there, and folders without any", async () => {
    const ran = await asked("apply", "-f", "/nowhere/a.yaml", "-f", "/nowhere/b.yaml");
    expect(ran.code).toBe(2);
    expect(ran.err).toContain("/nowhere/a.yaml");
    expect(ran.err).toContain("/nowhere/b.yaml");
    const empty = mkdtempSync(join(directory, "empty-"));
    const none = await asked("apply", "-f", empty);
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining(`no .yaml, .yml or .json file in ${empty}`) });
  });
});

describe("the command line", () => {
  test.each([
    [["statsu"], 2, "(Did you mean status?)"],
    [["status", "--outptu", "json"], 2, "(Did you mean --output?)"],
    [["apply"], 2, "required option '-f, --file <path>' not specified"],
    [["get", "vss"], 2, "unknown kind vss; known: Gateway"],
    [["status", "-o", "xml"], 2, "Allowed choices are table, json, yaml"],
    [["apply", "-f", "x", "--wait", "10"], 2, "a duration is a number and a unit"],
    [["up", "/nowhere"], 2, "/nowhere: no such folder"],
    [["status", "--api", "nonsense"], 2, "--api nonsense: not a URL"],
    [["status", "--api", "http://127.0.0.1:9"], 1, "no control plane at http://127.0.0.1:9"],
    [["status", "--token-file", "/nowhere/token"], 2, "--token-file /nowhere/token: "],
    [["snapshot", "verify", "/nowhere/x.snapshot", "--pool", "ingress"], 1, "/nowhere/x.snapshot: cannot be read"],
    [["keys", "show", "--state", "/nowhere"], 1, "make one (tidegate keys init)"],
    [["keys", "init", "--state", "/dev/null/x"], 1, "/dev/null/x"],
    [["explain", "ftp://x/"], 2, "not an http or https URL"],
  ])("%j: code %i", async (args, code, message) => {
    const ran = await tidegate(args, { cwd: directory });
    expect(ran.err).toContain(message);
    expect(ran.err).not.toMatch(/^ {4}at /m);
    expect(ran.code).toBe(code);
  });

  test("a wrong token", async () => {
    const ran = await tidegate(["status", "--api", `http://127.0.0.1:${mesh.ports.api}`], { env: { TIDEGATE_TOKEN: "wrong" } });
    expect(ran).toMatchObject({ code: 1, err: expect.stringContaining("refused the token; run in the folder") });
  });

  test("up: a folder that cannot be used, told once", async () => {
    const folder = mkdtempSync(join(directory, "up-"));
    writeFileSync(join(folder, "mesh.yaml"), service("x", "/"));
    writeFileSync(join(folder, "up.json"), '{ "confg": "." }');
    const odd = await tidegate(["up", folder]);
    expect(odd.code).toBe(2);
    expect(odd.err).toContain(join(folder, "up.json"));
    expect(odd.err).toContain("confg");
  });
});

describe("the control plane", () => {
  const control = (...args: string[]) =>
    runNode([join(ROOT, "controlplane/main.ts"), ...args], {
      env: { TIDEGATE_LOG_FORMAT: "json", TIDEGATE_API_PORT: "0", TIDEGATE_GRPC_PORT: "0" },
    });
  const fresh = () => mkdtempSync(join(directory, "state-"));

  test("unknown flags and wrong values, all at once, code 2", async () => {
    const ran = await control("--sate", "x", "--api-port", "99999", "extra", "--log-format", "xml", "--api-port", "1");
    expect(ran.code).toBe(2);
    expect(ran.err.trim().split("\n")).toEqual([
      expect.stringContaining("--sate: unknown flag"),
      expect.stringContaining("extra: no argument is expected here"),
      expect.stringContaining("--api-port: given more than once; keep one"),
      expect.stringContaining("--api-port: 99999: a port is a whole number"),
      expect.stringContaining("--log-format: xml: must be json, readable or auto"),
    ]);
  });

  test.each(["--api-port", "--grpc-port"])("a busy port: %s is named", async (flag) => {
    const busy: Server = createServer();
    const port = await listening(busy);
    const ran = await control("--state", fresh(), flag, String(port));
    busy.close();
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}.*choose another port with ${flag}`));
    expect(ran.err).toMatch(/EADDRINUSE|in use/);
  });

  test("a state directory that cannot be written", async () => {
    const ran = await control("--state", "/dev/null/x");
    expect(ran.code).toBe(1);
    expect(lastLine(ran)).toMatch(
      /state directory \/dev\/null\/x: .*; give a directory that this user can write to with --state/,
    );
  });

  test("a directory of configuration that is not there", async () => {
    const ran = await control("--state", fresh(), "--config", "/nowhere");
    expect(ran.code).toBe(1);
    expect(lastLine(ran)).toContain("--config /nowhere: no such directory");
  });

  test.each([
    ["config.db", (state: string) => writeFileSync(join(state, "config.db"), "no database, by far")],
    ["enrolment.db", (state: string) => writeFileSync(join(state, "enrolment.db"), "no database, by far")],
    ["api.token", (state: string) => writeFileSync(join(state, "api.token"), "")],
    ["root", (state: string) => writeFileSync(join(state, "keys", "roots", "1.json"), "{}")],
    ["private key", (state: string) => chmodSync(onlineKey(state), 0o644)],
  ])("a state file that somebody changed: %s", async (what, damage) => {
    const state = await madeState();
    damage(state);
    const before = snapshotOf(state);
    const ran = await control("--state", state);
    expect(ran.code).toBe(1);
    expect(lastLine(ran)).toContain("the control plane could not start");
    expect(lastLine(ran)).toMatch(what === "root" ? /roots/ : what === "private key" ? /chmod 600/ : new RegExp(what));
    expect(snapshotOf(state)).toEqual(before);
  });

  test("a snapshot in the history that somebody changed: told, and its version is not given out again", async () => {
    const state = await madeState();
    const manifest = join(state, "snapshots", "pools", "ingress", "1.1.json");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"payload":"e', '"payload":"f'));
    const [running, port] = await startOn(state);
    try {
      await untilPort(running, port);
      const shown = await until(
        () => tidegate(["snapshot", "show", "--api", `http://127.0.0.1:${port}`, "--token-file", join(state, "api.token")]),
        (ran) => ran.out.includes("in force"),
      );
      expect(running.output()).toContain("a snapshot on disk cannot be used; going on without it");
      expect(shown.out).toMatch(/ingress +1\.3 +in force/);
    } finally {
      await running.stop();
    }
  });

  let template: string | undefined;
  /** The state of a control plane that ran once. */
  async function madeState(): Promise<string> {
    if (template === undefined) {
      template = fresh();
      const [running, port] = await startOn(template);
      await untilPort(running, port);
      await until(
        async () => running.output(),
        (output) => output.includes("control plane ready"),
      );
      await running.stop();
    }
    const copy = fresh();
    cpSync(template, copy, { recursive: true });
    return copy;
  }

  async function startOn(state: string): Promise<[Running, number]> {
    const port = await freePort();
    const flags = ["--state", state, "--log-format", "json", "--api-port", String(port), "--grpc-port", "0"];
    return [start("control", [process.execPath, join(ROOT, "controlplane/main.ts"), ...flags]), port];
  }

  const onlineKey = (state: string) => join(state, "keys", "online", readdirSync(join(state, "keys", "online"))[0] ?? "");
  const snapshotOf = (state: string) =>
    readdirSync(join(state, "keys"), { recursive: true, encoding: "utf8" }).concat(readdirSync(join(state, "snapshots")));
});

describe("the gateway", () => {
  const noPorts = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];
  const gateway = (...args: string[]) => runNode([join(ROOT, "gateway/node/main.ts"), ...noPorts, ...args]);

  test("unknown flags and wrong values, all at once, code 2", async () => {
    const ran = await gateway("--thread", "2", "--metrics-port", "x");
    expect(ran.code).toBe(2);
    expect(ran.err).toContain("--thread: there is no such flag; did you mean --threads?");
    expect(ran.err).toContain("--metrics-port");
  });

  test("a variable that nobody knows", async () => {
    const ran = await runNode([join(ROOT, "gateway/node/main.ts"), ...noPorts], { env: { TIDEGATE_THREAD: "2" } });
    expect(ran).toMatchObject({ code: 2, err: expect.stringContaining("did you mean TIDEGATE_THREADS?") });
  });

  test("a busy admin port", async () => {
    const busy = createServer();
    const port = await listening(busy);
    const ran = await gateway("--admin-port", String(port), "--state", mkdtempSync(join(directory, "gw-")));
    busy.close();
    expect(ran.code).toBe(1);
    expect(ran.err).toContain(`admin port 127.0.0.1:${port} is in use by another process: choose another with --admin-port`);
  });

  test("a state directory that cannot be written", async () => {
    const ran = await gateway("--state", "/dev/null/x");
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/state directory \/dev\/null\/x: .*give a directory that this user can write to with --state/);
  });

  test("a join token that is none, or that was cut", async () => {
    const state = mkdtempSync(join(directory, "gw-"));
    const cut = await gateway("--state", state, "--join-token-file", file("tg1.abc"));
    expect(cut).toMatchObject({ code: 1, err: expect.stringContaining("damaged: copy the whole token, it is one line") });
    const none = await gateway("--state", state, "--join-token-file", "/nowhere/token");
    expect(none).toMatchObject({ code: 1, err: expect.stringContaining("/nowhere/token") });
    const absent = await gateway("--state", state);
    expect(absent).toMatchObject({ code: 1, err: expect.stringContaining("give it a join token with --join-token-file") });
  });

  test("a snapshot file that somebody changed", async () => {
    const state = mkdtempSync(join(directory, "keys-"));
    const out = join(state, "x.snapshot");
    await tidegate(["keys", "init", "--state", state]);
    mkdirSync(join(state, "config"));
    await tidegate(["snapshot", "build", "-f", mesh.config, "--pool", "ingress", "--state", state, "--out", out]);
    writeFileSync(out, readFileSync(out, "utf8").replace("origin.shop.local", "origin.evil.local"));
    const ran = await gateway("--snapshot", out);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain("the snapshot file cannot be used");
    const verified = await tidegate(["snapshot", "verify", out, "--pool", "ingress", "--state", state]);
    expect(verified.code).toBe(1);
  });
});

describe("after all of that", () => {
  test("what ran from the start runs, synced", async () => {
    expect(await fetched("/good")).toBe(200);
    expect((await mesh.untilSynced(1)).pools[0]?.gateways).toMatchObject([{ id: "ingress-1", state: "synced" }]);
  });
});

const lastLine = ({ err }: Ran): string => err.trim().split("\n").at(-1) ?? "";

/** @returns who the certificate is for */
function handshake(port: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "127.0.0.1", servername: "shop.example.com", rejectUnauthorized: false });
    socket.once("secureConnect", () => {
      resolve(socket.getPeerCertificate().subject["CN"]);
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

async function until<T>(ask: () => Promise<T>, fits: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const answer = await ask();
    if (fits(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`it never came: ${JSON.stringify(answer)}\n${mesh.output()}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
