import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MAX_WORKER_NAME_CHARS, SITE_SECRETS } from "../edge/index.ts";
import { listenAddress, network, tlsFiles } from "./edge-config.ts";
import { guestWorker } from "./edge-dev.ts";
import { testCommand } from "./test-command.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-edge-cli-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function site(
  name: string,
  change: { readonly namespace?: string; readonly url?: string; readonly runtime?: string; readonly accepted?: boolean } = {},
) {
  const { namespace = "edge", url = "https://edge-eu.example.com", runtime = "workerd", accepted = true } = change;
  const source = { file: "site.yaml", line: 3, column: 5 };
  const ref = { kind: "EdgeSite", namespace, name };
  return {
    metadata: { name, namespace },
    spec: { url, runtime, audience: "edge-eu", credentials: { fromSecret: { name: "edge-eu" } } },
    status: {
      accepted,
      programmed: [],
      problems: accepted ? [] : [{ severity: "error", ref, path: "spec.url", message: "not a URL", source }],
    },
  };
}

function edge(items: readonly unknown[]) {
  const answers = {
    "/objects": { items },
    "/trust": { issuer: "cluster.local", pin: "p".repeat(43), version: 1, expiresMs: 1 },
    "/snapshots": { items: [] },
  };
  const { run } = testCommand(directory, answers);
  const secrets = join(directory, "secrets");
  return (...args: string[]) => run("edge", ...args, "--secrets", secrets, "--state", join(directory, "state", "control"));
}

const folder = () => join(directory, "secrets", "edge", "edge-eu");
const values = () => readdirSync(folder()).map((name) => readFileSync(join(folder(), name), "utf8").trim());

describe("which site", () => {
  test.each([
    [[], "there is no EdgeSite europe; there is none at all: apply one, docs/edge.md shows how"],
    [[site("asia"), site("africa")], "there is no EdgeSite europe; there are: edge/asia, edge/africa"],
    [[site("europe"), site("europe", { namespace: "b" })], "EdgeSite europe is in namespaces edge and b; say which one with -n"],
    [[site("europe", { accepted: false })], "site.yaml:3:5: EdgeSite edge/europe: spec.url: not a URL"],
  ])("%#", async (items, told) => {
    const { code, err } = await edge(items)("keys", "europe");
    expect([code, err]).toEqual([1, expect.stringContaining(told)]);
  });

  test("-n settles which one is meant", async () => {
    const run = edge([site("europe"), site("europe", { namespace: "b" })]);
    expect((await run("keys", "europe", "-n", "edge")).code).toBe(0);
    expect(values()).toHaveLength(4);
  });
});

describe("keys", () => {
  test("makes them, keeps them, rotates them, and shows none", async () => {
    const run = edge([site("europe")]);
    const made = await run("keys", "europe");
    expect(made.out.match(/ made /g)).toHaveLength(4);
    const first = values();
    const kept = await run("keys", "europe", "-o", "json");
    expect(JSON.parse(kept.out)).toMatchObject({ site: "europe", secret: { namespace: "edge", name: "edge-eu" } });
    expect(kept.out.match(/"kept"/g)).toHaveLength(4);
    const rotated = await run("keys", "europe", "--rotate");
    expect(rotated.out.match(/ replaced /g)).toHaveLength(4);
    const told = [made, kept, rotated].map(({ out, err }) => out + err).join();
    for (const value of [...first, ...values()]) expect(told).not.toContain(value);
    expect(first.filter((value) => values().includes(value))).toEqual([]);
  });
});

describe("what is refused before anything is written", () => {
  test.each(["config", "dev", "deploy"])(
    "%s without secrets names each missing file and the command that makes it",
    async (verb) => {
      const url = verb === "dev" ? "http://127.0.0.1:8787" : "https://edge-eu.example.com";
      const args = verb === "config" ? ["--out", join(directory, "out")] : [];
      const runtime = verb === "deploy" ? "cloudflare" : "workerd";
      const { code, err } = await edge([site("europe", { url, runtime })])(verb, "europe", ...args);
      expect(code).toBe(1);
      for (const key of Object.keys(SITE_SECRETS)) {
        expect(err).toContain(`there is no ${join(folder(), key)}; make it with: npx tidegate edge keys europe`);
      }
      expect(readdirSync(directory)).toEqual([]);
    },
  );

  test.each([
    ["config", "cloudflare", "workerd"],
    ["dev", "cloudflare", "workerd"],
    ["deploy", "workerd", "cloudflare"],
  ])("%s: a site whose snapshots are made for %s", async (verb, runtime, wanted) => {
    const args = verb === "config" ? ["--out", join(directory, "out")] : [];
    const { err } = await edge([site("europe", { runtime })])(verb, "europe", ...args);
    expect(err).toContain(`spec.runtime is ${runtime}, and \`edge ${verb}\` runs it on ${wanted}; write runtime: ${wanted}`);
  });

  test("dev: a site of another machine", async () => {
    const { code, err } = await edge([site("europe")])("dev", "europe");
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/edge-eu\.example\.com names another machine.*http:\/\/127\.0\.0\.1:8787/),
    ]);
  });

  test("dev: a port that somebody has", async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    const run = edge([site("europe", { url: `http://127.0.0.1:${port}` })]);
    await run("keys", "europe");
    const { code, err } = await run("dev", "europe");
    server.close();
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(`port 127.0.0.1:${port} for edge site europe is in use by another process`),
    ]);
  });

  test("deploy: a site without https, and one whose Workers' names would be longer than MAX_WORKER_NAME_CHARS", async () => {
    const plain = edge([site("europe", { url: "http://127.0.0.1:8787", runtime: "cloudflare" })]);
    expect((await plain("deploy", "europe")).err).toContain("a site on Cloudflare is reached by https");
    const name = "e".repeat(MAX_WORKER_NAME_CHARS);
    const long = edge([site(name, { runtime: "cloudflare" })]);
    await long("keys", name);
    expect((await long("deploy", name)).err).toContain(
      `Cloudflare takes ${MAX_WORKER_NAME_CHARS}; give the EdgeSite a shorter name`,
    );
  });
});

describe("what is told on the command line", () => {
  test.each(["127.0.0.1:8787", "0.0.0.0:443", "[::1]:8787", "*:80"])("--listen %s", (text) => {
    expect(listenAddress("--listen", text)).toBe(text);
  });

  test.each(["8787", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", 'x";:1'])("--listen %s is refused", (text) => {
    expect(() => listenAddress("--listen", text)).toThrow(`--listen ${text}: write HOST:PORT`);
  });

  test("--allow-network takes blocks and words, nothing that could end a string", () => {
    expect(["10.0.0.0/8", "fd00::/8", "private"].map(network)).toEqual(["10.0.0.0/8", "fd00::/8", "private"]);
    for (const text of ["10.0.0.0", "everything", 'a"']) expect(() => network(text)).toThrow("write a CIDR block");
  });

  test("--tls-cert and --tls-key: both, there, and PEM", () => {
    expect(tlsFiles(undefined, undefined)).toBeUndefined();
    expect(() => tlsFiles("a.pem", undefined)).toThrow("belong together");
    expect(() => tlsFiles("/nowhere/a.pem", "/nowhere/b.pem")).toThrow("--tls-cert /nowhere/a.pem: no such file");
    expect(() => tlsFiles(import.meta.filename, "/nowhere/b.pem")).toThrow("not PEM");
  });

  test("--worker names a Worker and its file; the site's own names are taken", () => {
    expect(guestWorker("checkout=/src/checkout.ts", 8788)).toEqual({
      ...{ name: "checkout", entry: "/src/checkout.ts", address: "127.0.0.1:8788" },
    });
    for (const text of ["checkout", "=a.ts", "egress=a.ts", "A=a.ts"])
      expect(() => guestWorker(text, 1)).toThrow("write NAME=FILE");
  });
});

test("secrets are made where nobody else can read them", async () => {
  await edge([site("europe")])("keys", "europe");
  expect(statSync(folder()).mode & 0o077).toBe(0);
});
