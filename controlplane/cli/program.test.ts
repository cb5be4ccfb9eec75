import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { ChangeResponse, GatewayView, ObjectView, StatusResponse } from "../api/index.ts";
import { connectApi } from "./client.ts";
import { durationMs, KIND_NAMES, kindName } from "./options.ts";
import { NOW, testCommand } from "./test-command.ts";
import { MAX_PASSWORD_CHARS } from "./verbs/egress.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-cli-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const command = (answers?: Readonly<Record<string, unknown>>, stdin?: string) => testCommand(directory, answers, stdin);

const gateway = (change: Partial<GatewayView> = {}): GatewayView => ({
  kind: "gateway",
  id: "gw-1",
  pool: "ingress",
  state: "synced",
  version: "1.4",
  sinceMs: NOW - 5000,
  software: "x",
  reasons: [],
  ...change,
});
const status = (...gateways: GatewayView[]): StatusResponse => ({
  pools: [{ name: "ingress", version: "1.4", publishedMs: NOW - 60_000, gateways }],
  objects: { accepted: 3, refused: 1, withProblems: 1 },
  problems: [],
});
const ref = { kind: "Quota", namespace: "shop", name: "q" };
const problem = {
  severity: "error" as const,
  ref,
  path: "spec.limits",
  message: "at least one; write one",
  source: { file: "q.yaml", line: 3, column: 5 },
};
const changed = (change: Partial<ChangeResponse> = {}): ChangeResponse => ({
  changes: [{ ref, change: "created" }],
  problems: [],
  snapshots: [{ pool: "ingress", version: "1.4" }],
  ...change,
});
const object: ObjectView = {
  apiVersion: "mesh.tidegate.dev/v1",
  kind: "Quota",
  metadata: { name: "q", namespace: "shop", generation: 1, createdMs: NOW - 7_200_000, labels: {}, annotations: {} },
  spec: { limits: [] },
  status: { accepted: true, programmed: [{ pool: "ingress", since: "1.3" }], problems: [] },
  source: "q.yaml",
};

describe("status", () => {
  test("a table of pools, gateways and counts; 0 when all are synced", async () => {
    const { run } = command({ "/status": status(gateway()) });
    const { code, out, err } = await run("status");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("ingress  1.4       1m ago     1/1 synced");
    expect(out).toMatch(/ingress +gw-1 +synced +1\.4 +5s/);
    expect(out).toContain("3 objects accepted, 1 refused, 1 with problems");
  });

  test.each(["refused", "partial", "pending"] as const)("3 when one is %s, with the reason", async (state) => {
    const { run } = command({ "/status": status(gateway(), gateway({ id: "gw-2", state, reasons: ["a", "b"] })) });
    const { code, out, err } = await run("status");
    expect([code, err]).toEqual([3, ""]);
    expect(out).toMatch(new RegExp(`gw-2 +${state} +1\\.4 +5s +a; b`));
  });

  test("0 for one that is gone; nobody yet is said", async () => {
    expect((await command({ "/status": status(gateway({ state: "disconnected" })) }).run("status")).code).toBe(0);
    expect((await command({ "/status": status() }).run("status")).out).toContain("no gateway has enrolled yet");
  });
});

describe("edge sites", () => {
  const site = (change: Partial<GatewayView> = {}, details: Partial<GatewayView["site"]> = {}): GatewayView => ({
    ...gateway({ kind: "site", id: "europe", pool: "ingress", version: "1.4" }),
    site: {
      url: "https://edge-eu.example.com",
      via: "websocket",
      connectedMs: NOW - 7_200_000,
      lastError: undefined,
      acceptedMs: NOW - 9_000,
      enforced: "1.4",
      ...details,
    },
    ...change,
  });

  test("have a table of their own: accepted since, in force, connected since", async () => {
    const { code, out } = await command({ "/status": status(gateway(), site()) }).run("status");
    expect(code).toBe(0);
    expect(out).toMatch(/POOL +SITE +STATE +ACCEPTED +SINCE +ENFORCED +CONNECTED +WHY/);
    expect(out).toMatch(/ingress +europe +synced +1\.4 +9s +1\.4 +2h/);
    expect(out).toMatch(/ingress +gw-1 +synced +1\.4 +5s/);
  });

  test("over the fallback, not yet in force, refused, never reached", async () => {
    const shown = async (one: GatewayView) => await command({ "/status": status(one) }).run("status");
    expect((await shown(site({}, { via: "https" }))).out).toContain("2h, by https");
    const pending = await shown(
      site({ state: "pending", reasons: ["accepted; its isolates take it over now"] }, { enforced: "1.3" }),
    );
    expect([pending.code, pending.out]).toEqual([
      3,
      expect.stringMatching(/pending +1\.4 +9s +1\.3 +2h +accepted; its isolates/),
    ]);
    expect((await shown(site({ state: "refused", reasons: ["wrong audience"] }))).code).toBe(3);
    const never = { via: undefined, connectedMs: undefined, acceptedMs: undefined, enforced: undefined };
    const gone = await shown(
      site({ state: "disconnected", version: undefined, reasons: ["the site refuses the relay token"] }, never),
    );
    expect([gone.code, gone.out]).toEqual([
      0,
      expect.stringMatching(/disconnected +- +- +- +no +the site refuses the relay token/),
    ]);
  });

  test("apply --wait covers them", async () => {
    const enforced = (gateways: readonly GatewayView[], complete: boolean) => ({ complete, tookMs: 7, gateways });
    const done = command({ "/apply": changed({ enforced: enforced([gateway(), site()], true) }) });
    expect((await done.run("apply", "-f", "-", "--wait")).out).toContain("enforced by 1 gateway and 1 edge site after 7 ms");
    const behind = command({
      "/apply": changed({ enforced: enforced([gateway(), site({ state: "pending" }, { enforced: "1.3" })], false) }),
    });
    const { out } = await behind.run("apply", "-f", "-", "--wait");
    expect(out).toMatch(/not enforced everywhere:[\s\S]*europe +pending/);
  });
});

describe("one set of data, three formats", () => {
  const token = { token: "tg1.abc", pool: "ingress", expiresMs: 1, uses: 1 };
  const snapshots = {
    items: [{ pool: "ingress", version: "1.4", publishedMs: NOW - 5000, policyClass: "widening", bytes: 7, current: true }],
  };
  const service = { pool: "ingress", cluster: "outbound|9080||reviews.shop", host: "reviews.shop", servicePort: 9080 };
  const well = { ...service, address: "10.0.0.1", port: 80, locality: "eu/a", weight: 1, state: "healthy" };
  const endpoints = [
    { ...well, gateway: "gw-1" },
    { ...well, gateway: "gw-2" },
    {
      ...service,
      gateway: "gw-2",
      subset: "v1",
      address: "::1",
      port: 80,
      hostname: "a.test",
      weight: 1,
      state: "ejected",
      reason: "consecutive-5xx",
      sinceMs: NOW - 9000,
    },
  ];
  const rolledBack = { pool: "ingress", version: "1.5" };
  test.each<[string[], Record<string, unknown>, unknown, RegExp]>([
    [["status"], { "/status": status(gateway()) }, status(gateway()), /POOL +SNAPSHOT/],
    [["get", "quota"], { "/objects": { items: [object] } }, [object], /Quota +shop +q +accepted +ingress@1\.3 +2h +q\.yaml/],
    [["get", "quota", "q"], { "/objects": { items: [object] } }, object, /spec:\n {2}limits: \[\]/],
    [
      ["get", "endpoints", "reviews"],
      { "/endpoints": { items: endpoints } },
      endpoints,
      /ingress +reviews\.shop:9080 +10\.0\.0\.1:80 +healthy +- +all 2 +eu\/a\ningress +reviews\.shop:9080 \(v1\) +\[::1\]:80 \(a\.test\) +ejected +9s +gw-2 +- +consecutive-5xx/,
    ],
    [["apply", "-f", "-"], { "/apply": changed() }, changed(), /Quota +shop +q +created/],
    [["delete", "quota", "q"], { "/delete": changed() }, changed(), /Quota +shop +q +created/],
    [["snapshot", "show"], { "/snapshots": snapshots }, snapshots.items, /ingress +1\.4 +in force +5s ago +widening +7/],
    [
      ["snapshot", "rollback", "ingress@1.2"],
      { "/snapshots/ingress/rollback": rolledBack },
      rolledBack,
      /pool ingress: snapshot 1\.5 has the content of 1\.2/,
    ],
    [["keys", "join-token", "--pool", "ingress"], { "/join-tokens": token }, token, /^tg1\.abc\n$/],
    [
      ["keys", "revoke", "gw-1"],
      { "/gateways/gw-1/revoke": { gateway: "gw-1" } },
      { gateway: "gw-1" },
      /gw-1: needs a new join token/,
    ],
    [
      ["version"],
      { "/version": { version: "9" } },
      { client: "1.2.3", controlPlane: "9" },
      /^client 1\.2\.3\ncontrol plane 9\n$/,
    ],
  ])("%j", async (args, answers, data, table) => {
    const { run } = command(answers, "kind: Quota");
    const [text, json, yaml] = [await run(...args), await run(...args, "-o", "json"), await run(...args, "-o", "yaml")];
    expect([text.code, json.code, yaml.code]).toEqual([0, 0, 0]);
    expect(text.out).toMatch(table);
    expect(JSON.parse(json.out)).toEqual(data);
    expect(parse(yaml.out)).toEqual(JSON.parse(json.out));
  });

  test("validate", async () => {
    const file = join(directory, "q.yaml");
    writeFileSync(file, "apiVersion: mesh.tidegate.dev/v1\nkind: Quota\nmetadata: { name: q }\nspec: { limits: 3 }\n");
    const { run } = command();
    const text = await run("validate", file);
    expect(text.code).toBe(1);
    expect(text.out).toContain(`${file}:4:`);
    expect(text.out).toMatch(/0 objects accepted, \d+ errors?\n$/);
    const [json, yaml] = [await run("validate", file, "-o", "json"), await run("validate", file, "-o", "yaml")];
    expect(JSON.parse(json.out).accepted).toBe(0);
    expect(parse(yaml.out)).toEqual(JSON.parse(json.out));
  });

  test("keys init, rotate and show", async () => {
    const { run } = command();
    const state = join(directory, "state");
    const made = JSON.parse((await run("keys", "init", "--state", state, "--root-keys", "2", "-o", "json")).out);
    expect(made).toMatchObject({ version: 1, epoch: 1, iss: "cluster.local" });
    const rotated = await run("keys", "rotate", "--state", state, "-o", "yaml");
    expect([rotated.code, parse(rotated.out).version]).toEqual([0, 2]);
    const shown = await run("keys", "show", "--state", state);
    expect(shown.out).toContain(`pin ${made.pin}`);
    expect(shown.out).toMatch(/EdDSA +root +offline|EdDSA +root +here/);
    expect(shown.out).not.toMatch(/"d"/);
  });
});

describe("apply, diff and delete", () => {
  test("what is refused: code 1, with the place", async () => {
    const { run } = command({ "/apply": changed({ changes: [{ ref, change: "refused" }], problems: [problem] }) });
    const { code, out, err } = await run("apply", "-f", "-");
    expect(code).toBe(1);
    expect(out).toContain("error q.yaml:3:5: Quota shop/q: spec.limits: at least one; write one");
    expect(err).toContain("1 refused");
  });

  test("--wait: what is not enforced is 3, with which and why; what is, says how fast", async () => {
    const behind = { complete: false, tookMs: 10_000, gateways: [gateway({ state: "refused", reasons: ["too old"] })] };
    const { run, api } = command({ "/apply": changed({ enforced: behind }) });
    const { code, out } = await run("apply", "-f", "-", "--wait", "2s");
    expect(code).toBe(3);
    expect(out).toMatch(/not enforced everywhere:\nPOOL[^\n]*\ningress +gw-1 +refused +1\.4 +5s +too old/);
    expect(api.asked[0]?.body).toMatchObject({ waitMs: 2000 });
    const done = command({ "/apply": changed({ enforced: { complete: true, tookMs: 7, gateways: [gateway()] } }) });
    expect((await done.run("apply", "-f", "-", "--wait")).out).toContain("enforced by 1 gateway after 7 ms");
    expect(done.api.asked[0]?.body).toMatchObject({ waitMs: 10_000 });
  });

  test("documents: standard input, files, and all below a folder but what is hidden", async () => {
    for (const name of ["b.yaml", "a.yml", "c.json", "notes.txt", ".hidden.yaml"]) writeFileSync(join(directory, name), name);
    const { run, api } = command({ "/apply": changed() }, "from stdin");
    await run("apply", "-f", "-", "-f", directory);
    const documents = (api.asked[0]?.body as { documents: { file: string; text: string }[] } | undefined)?.documents ?? [];
    expect(documents.map(({ text }) => text)).toEqual(["from stdin", "a.yml", "b.yaml", "c.json"]);
    expect(documents[1]?.file).toBe(join(directory, "a.yml"));
  });

  test("diff: 4 and the fields; 0 when there is none", async () => {
    const fields = [{ path: "spec.cost", before: 1, after: 2 }];
    const { run, api } = command({ "/apply": changed({ changes: [{ ref, change: "updated", fields }] }) });
    const { code, out } = await run("diff", "-f", "-");
    expect(code).toBe(4);
    expect(out).toBe("Quota shop/q: updated\n- spec.cost: 1\n+ spec.cost: 2\n");
    expect(api.asked[0]?.body).toMatchObject({ dryRun: true });
    const same = command({ "/apply": changed({ changes: [{ ref, change: "unchanged" }] }) });
    expect(await same.run("diff", "-f", "-")).toEqual({ code: 0, out: "", err: "" });
  });

  test("delete: names of one kind and namespace; what is missing is 1", async () => {
    const { run, api } = command({ "/delete": changed({ changes: [{ ref, change: "missing" }] }) });
    expect((await run("delete", "quotas", "a", "b", "-n", "shop")).code).toBe(1);
    const refs = ["a", "b"].map((name) => ({ kind: "Quota", namespace: "shop", name }));
    expect(api.asked[0]?.body).toMatchObject({ refs });
  });
});

describe("egress learn", () => {
  const line = JSON.stringify({
    log: "egress",
    verdict: "learn",
    user: "batch",
    learned: { host: "api.example.com", port: 443, protocol: "tunnel" },
  });

  test("makes policies of a log, from files or standard input", async () => {
    const path = join(directory, "access.log");
    writeFileSync(path, `{"log":"access"}\n${line}\n`);
    const fromFile = await command().run("egress", "learn", path, "-n", "shop");
    expect(parse(fromFile.out)).toMatchObject({ kind: "EgressPolicy", metadata: { name: "learned-batch", namespace: "shop" } });
    expect((await command({}, line).run("egress", "learn", "-", "-n", "shop")).out).toBe(fromFile.out);
  });

  test("says when there is nothing to learn from, or nothing to read", async () => {
    expect(await command({}, "{}").run("egress", "learn", "-")).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringContaining("mode learn"),
    });
    const missing = join(directory, "missing.log");
    expect(await command().run("egress", "learn", missing)).toMatchObject({ code: 2, err: expect.stringContaining(missing) });
  });
});

describe("egress password", () => {
  test("a line for the file, and never the password", async () => {
    const { code, out, err } = await command({}, "s3cret\n").run("egress", "password", "payments");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^payments:scrypt\$16384\$8\$1\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=\n$/);
  });

  test.each([
    ["", "the password is empty"],
    ["two\nlines", "one line"],
    ["x".repeat(MAX_PASSWORD_CHARS + 1), `at most ${MAX_PASSWORD_CHARS} characters`],
  ])("refuses what is no password", async (password, message) => {
    const { code, out, err } = await command({}, password).run("egress", "password", "payments");
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
  });

  test("refuses what is no user name", async () => {
    const { code, err } = await command({}, "x").run("egress", "password", "a:b");
    expect(code).toBe(2);
    expect(err).toContain("no colon and no white space");
  });
});

describe("the command line itself", () => {
  const verbs = (program: Command, path: string[] = []): [string[], Command][] =>
    program.commands.flatMap((one) =>
      one.commands.length > 0 ? verbs(one, [...path, one.name()]) : [[[...path, one.name()], one] as [string[], Command]],
    );

  test("every verb has a description and an example in its help", async () => {
    const { run, program } = command();
    const all = verbs(program);
    expect(all.length).toBeGreaterThan(15);
    for (const [path, verb] of all) {
      expect([path, verb.description()]).not.toEqual([path, ""]);
      const { code, out } = await run(...path, "--help");
      expect([path, code]).toEqual([path, 0]);
      expect(out).toMatch(new RegExp(`Examples?:\\n(?:.*\\n)*? .*tidegate ${path.join(" ")}|npm start`));
    }
  });

  test.each([
    [["statsu"], "Did you mean status?"],
    [["keys", "rotat"], "Did you mean rotate?"],
    [["status", "--outpt", "json"], "Did you mean --output?"],
    [["get", "nothing"], "unknown kind nothing; known: Gateway, VirtualService"],
    [["apply", "-f", "-", "--wait", "soon"], "500ms, 10s, 5m, 1h, 30d"],
    [["up", "--threads", "many"], "a whole number is needed"],
    [["snapshot", "rollback", "ingress"], "write a snapshot as <pool>@<version>"],
  ])("%j: code 2 and what would be right", async (args, message) => {
    const { code, out, err } = await command().run(...args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
  });

  test("a file that the system refuses is one line, not a stack", async () => {
    const { code, err } = await command().run("keys", "init", "--state", "/dev/null/x");
    expect(code).toBe(1);
    expect(err).toMatch(/^tidegate: ENOTDIR: [^\n]*\/dev\/null\/x[^\n]*\n$/);
  });

  test("version without a control plane says so and is no failure", async () => {
    const { code, out } = await command().run("--version");
    expect([code, out]).toEqual([0, "1.2.3\n"]);
  });
});

describe("values of options", () => {
  test("durations", () => {
    expect(["500ms", "10s", "1.5m", "2h", "1d"].map(durationMs)).toEqual([500, 10_000, 90_000, 7_200_000, 86_400_000]);
    for (const text of ["", "10", "s", "-1s", "1 s", "1w"]) expect(() => durationMs(text)).toThrow(/a number and a unit/);
  });

  test("kinds as people write them", () => {
    expect(["vs", "VirtualServices", "gw", "SE", "quota"].map(kindName)).toEqual([
      "VirtualService",
      "VirtualService",
      "Gateway",
      "ServiceEntry",
      "Quota",
    ]);
    expect(new Set(Object.values(KIND_NAMES)).size).toBe(8);
  });

  test("where the API is: flag, then variable, then the usual place; its token likewise", () => {
    expect(connectApi({}, {}, directory).base.href).toBe("http://127.0.0.1:15080/");
    const env = { TIDEGATE_API: "http://10.0.0.1:1" };
    expect(connectApi({}, env, directory).base.host).toBe("10.0.0.1:1");
    expect(connectApi({ api: "http://10.0.0.2:2" }, env, directory).base.host).toBe("10.0.0.2:2");
    expect(() => connectApi({ api: "nonsense" }, {}, directory)).toThrow(/not a URL/);
    expect(() => connectApi({ tokenFile: "/nowhere/t" }, {}, directory)).toThrow(/--token-file \/nowhere\/t: /);
  });
});
