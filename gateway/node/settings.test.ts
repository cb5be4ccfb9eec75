import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { hasSettingsFile, MAX_SITE_TUNNELS, readSettings, usage } from "./settings.ts";

function read(argv: string[], env: Record<string, string> = {}, file?: string) {
  return readSettings({
    argv,
    env,
    readFile: () => {
      if (file === undefined) throw new Error("ENOENT: no such file");
      return parse(file);
    },
  });
}

describe("readSettings", () => {
  it("fills every default in", () => {
    const settings = read([]);
    expect(settings.ok && settings.value).toMatchObject({
      pool: "ingress",
      control: "127.0.0.1:15012",
      snapshot: undefined,
      threads: 1,
      adminPort: 15000,
      metricsPort: 15090,
      readinessPort: 15021,
    });
  });

  it("reads how to draw on the bank of global quotas", () => {
    const byDefault = read([]);
    expect(byDefault.ok && byDefault.value).toMatchObject({ bankTokenFile: undefined, bankDeadlineMs: 50 });
    const given = read(["--bank-token-file", "t"], { TIDEGATE_BANK_DEADLINE_MS: "200" });
    expect(given.ok && given.value).toMatchObject({ bankTokenFile: "t", bankDeadlineMs: 200 });
    const wrong = read(["--bank-deadline-ms", "0"]);
    expect(wrong.ok ? [] : wrong.error).toMatchObject([{ path: "--bank-deadline-ms" }]);
  });

  it("reads where the gateway is, and whom to ask for names", () => {
    const given = read(["--locality", "eu/a", "--name-servers", "10.0.0.1,[::1]:53"], { TIDEGATE_NAME_SERVERS: "1.1.1.1" });
    expect(given.ok && given.value).toMatchObject({ locality: "eu/a", nameServers: ["10.0.0.1", "[::1]:53"] });
    const wrong = read(["--locality", "eu/*", "--name-servers", "dns.test"]);
    expect(wrong.ok ? [] : wrong.error).toEqual([
      { path: "--locality", problem: '"eu/*" is not REGION[/ZONE[/SUBZONE]]' },
      { path: "--name-servers", problem: '"dns.test" is not IP or IP:PORT ([IP]:PORT for IPv6)' },
    ]);
  });

  it("lets flags win over the environment, and that over the file", () => {
    const file = "threads: 2\nadminPort: 1000\nmetricsPort: 1001\n";
    const env = { TIDEGATE_ADMIN_PORT: "2000", TIDEGATE_METRICS_PORT: "2001", TIDEGATE_SETTINGS: "f.yaml" };
    const settings = read(["--metrics-port=3001"], env, file);
    expect(settings.ok && settings.value).toMatchObject({ threads: 2, adminPort: 2000, metricsPort: 3001 });
  });

  it("tells every problem at once, with its place", () => {
    const argv = ["--treads", "2", "--admin-port", "99999", "--control", "here", "--settings", "f.yaml", "--state"];
    const settings = read(argv, { TIDEGATE_POOLS: "x", TIDEGATE_THREADS: "0" }, "adminport: 3\npool: [a]\n");
    expect(settings.ok ? [] : settings.error.map(({ path, problem }) => `${path}: ${problem}`)).toEqual([
      "--treads: there is no such flag; did you mean --threads?",
      "--state: needs a value: --state DIR",
      "TIDEGATE_POOLS: there is no such variable; did you mean TIDEGATE_POOL?",
      "f.yaml: adminport: there is no such setting; did you mean adminPort?",
      "f.yaml: pool: has to be text or a number",
      '--control: "here" is not HOST:PORT',
      'TIDEGATE_THREADS: "0" is not a whole number from 1 to 61',
      '--admin-port: "99999" is not a whole number from 0 to 65535',
    ]);
  });

  it("keeps nothing beside a snapshot file unless it is told where, and bounds the heap of threads", () => {
    const of = (...argv: string[]) => {
      const settings = read(argv);
      return settings.ok && settings.value !== "help" ? [settings.value.state, settings.value.threadHeapMb] : settings;
    };
    expect(of("--snapshot", "s.json")).toEqual([undefined, undefined]);
    expect(of("--snapshot", "s.json", "--state", "run", "--thread-heap-mb", "64")).toEqual(["run", 64]);
    expect(of("--gateway-id", "a")).toEqual([".tidegate/a", undefined]);
    const wrong = read(["--thread-heap-mb", "31"]);
    expect(wrong.ok ? [] : wrong.error).toMatchObject([{ path: "--thread-heap-mb" }]);
  });

  it("reads the limits at which load is refused", () => {
    const byDefault = read([]);
    expect(byDefault.ok && byDefault.value).toMatchObject({
      maxConnections: 50_000,
      maxRequests: 10_000,
      maxMemoryMb: undefined,
      maxDelayMs: 1000,
    });
    const given = read(["--max-connections", "10", "--max-memory-mb", "512"], {
      TIDEGATE_MAX_REQUESTS: "5",
      TIDEGATE_MAX_DELAY_MS: "0",
    });
    expect(given.ok && given.value).toMatchObject({ maxConnections: 10, maxRequests: 5, maxMemoryMb: 512, maxDelayMs: 0 });
    const wrong = read(["--max-connections", "0", "--max-requests", "0", "--max-memory-mb", "64", "--max-delay-ms", "60001"]);
    expect(wrong.ok ? [] : wrong.error).toHaveLength(4);
  });

  it("says whether there is a file to read", () => {
    const asked = (argv: string[], env = {}) => hasSettingsFile({ argv, env });
    expect([asked(["--threads", "2"]), asked(["--settings=f"]), asked(["--settings", "f"])]).toEqual([false, true, true]);
    expect(asked([], { TIDEGATE_SETTINGS: "f" })).toBe(true);
  });

  it("names an unreadable settings file", () => {
    const settings = read(["--settings", "gone.yaml"]);
    expect(settings.ok ? [] : settings.error).toEqual([{ path: "gone.yaml", problem: "ENOENT: no such file" }]);
  });

  it("refuses a snapshot file beside a control plane", () => {
    const settings = read(["--snapshot", "s.json", "--control", "a:1"]);
    expect(settings.ok ? [] : settings.error.map(({ path }) => path)).toEqual(["--snapshot"]);
  });

  it("lists every flag in the help", () => {
    expect(read(["--help"])).toEqual({ ok: true, value: "help" });
    for (const flag of ["--pool", "--gateway-id", "--join-token-file", "--threads", "--snapshot"])
      expect(usage()).toContain(flag);
  });
});

describe("tunnels", () => {
  const tokenFile = ["--tunnel-token-file", "token"];
  it("are a list: by repeated flags, commas, or a list in the file", () => {
    const flags = read(["--tunnel", "wss://a.test", "--tunnel", "wss://b.test:8443/, ws://127.0.0.1:80", ...tokenFile]);
    expect(flags.ok && flags.value).toMatchObject({
      tunnel: ["wss://a.test", "wss://b.test:8443", "ws://127.0.0.1"],
      tunnelTokenFile: "token",
      tunnelConnections: 2,
    });
    const file = read(["--settings", "f.yaml"], {}, "tunnel: [wss://a.test, wss://b.test]\ntunnelTokenFile: t\n");
    expect(file.ok && file.value).toMatchObject({ tunnel: ["wss://a.test", "wss://b.test"] });
    expect(read([])).toMatchObject({ ok: true, value: { tunnel: [], tunnelTokenFile: undefined } });
  });

  it.each([
    [["--tunnel", "ws://site.test", ...tokenFile], "is not wss://"],
    [["--tunnel", "wss://site.test/path", ...tokenFile], "is not wss://"],
    [["--tunnel", "wss://user@site.test", ...tokenFile], "is not wss://"],
    [["--tunnel", "site.test", ...tokenFile], "is not wss://"],
    [["--tunnel", "wss://site.test"], "--tunnel-token-file"],
    [["--tunnel-connections", String(MAX_SITE_TUNNELS + 1)], `from 1 to ${MAX_SITE_TUNNELS}`],
  ])("%j is refused", (argv, problem) => {
    const settings = read(argv);
    expect(settings.ok ? "taken" : settings.error.map((issue) => issue.problem).join()).toContain(problem);
  });
});
