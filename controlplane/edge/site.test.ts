import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { secretBinding } from "../../gateway/core/ir/index.ts";
import { bundleProblem, MAX_WORKER_GZIP_BYTES } from "./bundle.ts";
import { injectedCredentials, readCredentials } from "./credentials.ts";
import { loopbackPort, siteFacts, siteVariables } from "./site.ts";
import { environmentFile, siteReadme } from "./site-files.ts";
import { type SiteRuntime, siteWorkerd } from "./site-workerd.ts";
import { workerdConfig } from "./workerd.ts";
import { MAX_WORKER_NAME_CHARS, workerNames, wranglerToml } from "./wrangler.ts";

const OBJECT = {
  metadata: { name: "europe", namespace: "edge" },
  spec: {
    url: "https://edge-eu.example.com",
    audience: "edge-eu",
    runtime: "workerd",
    gateways: [{ name: "front" }],
    credentials: { fromSecret: { name: "eu" } },
  },
};
const SITE = {
  ...{ name: "europe", namespace: "edge", url: "https://edge-eu.example.com", audience: "edge-eu" },
  runtime: "workerd" as const,
  credentials: { namespace: "edge", name: "eu" },
};
const TRUST = { pin: "p".repeat(43), floor: "1.7" };
const RUNTIME: SiteRuntime = {
  ...{ site: SITE, trust: TRUST, address: "127.0.0.1:8787", credentials: ["SECRET_SHOP_STRIPE_TOKEN"] },
  ...{ allowNetworks: [], guests: [], upstreams: [], storage: "storage" },
};

describe("a site as the API shows it", () => {
  test("what a Worker is told of it", () => {
    expect(siteFacts(OBJECT)).toEqual({ ok: true, value: SITE });
    expect(siteVariables(SITE, TRUST)).toEqual({
      ...{ SITE: "europe", AUDIENCE: "edge-eu", TRUST_ROOT: TRUST.pin, SITE_HOST: "edge-eu.example.com" },
      SNAPSHOT_FLOOR: "1.7",
    });
    expect(siteVariables(SITE, { ...TRUST, floor: undefined })).not.toHaveProperty("SNAPSHOT_FLOOR");
  });

  test("what is missing is named by its place", () => {
    const facts = siteFacts({ ...OBJECT, spec: { url: "edge", runtime: "deno" } });
    const told = facts.ok ? [] : facts.error.map(({ path }) => path);
    expect(told).toEqual(["EdgeSite edge/europe: spec.url", "EdgeSite edge/europe: spec.runtime"]);
  });

  test("what follows from its name, as its kind has it", () => {
    const spec = { url: "https://edge-eu.example.com", audience: undefined, runtime: undefined, credentials: undefined };
    expect(siteFacts({ ...OBJECT, spec })).toMatchObject({
      value: { audience: "europe", runtime: "cloudflare", credentials: { namespace: "edge", name: "europe" } },
    });
  });

  test.each([
    ["http://127.0.0.1:8787", 8787],
    ["http://localhost", 80],
    ["https://127.0.0.1:8787", undefined],
    ["http://127.0.0.1.example.com:8787", undefined],
    ["https://edge.example.com", undefined],
  ])("%s listens on this machine at %s", (url, port) => {
    expect(loopbackPort({ url })).toBe(port);
  });
});

describe("credentials that a site injects", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tidegate-credentials-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const inject = (name: string, key: string) => ({ header: "authorization", fromSecret: { name, key } });
  const policies = [
    { metadata: { namespace: "shop", name: "payments" }, spec: { allow: [{ inject: [inject("stripe.eu", "api-token")] }, {}] } },
    { metadata: { namespace: "shop", name: "again" }, spec: { allow: [{ inject: [inject("stripe.eu", "api-token")] }] } },
    { metadata: { namespace: "shop", name: "nothing" }, spec: {} },
  ];

  test("each once, under the Worker's name for it", () => {
    const found = injectedCredentials(policies);
    expect(found.map(secretBinding)).toEqual(["SECRET_SHOP_STRIPE_EU_API_TOKEN"]);
  });

  test("read from the folder of secrets, or the file to write is named", () => {
    const refs = injectedCredentials(policies);
    const missing = readCredentials(folder, refs);
    expect(missing.ok ? [] : missing.error).toEqual([
      {
        path: "EgressPolicy shop/again",
        problem: `there is no ${join(folder, "shop", "stripe.eu", "api-token")}; write the credential to inject into it`,
      },
    ]);
    mkdirSync(join(folder, "shop", "stripe.eu"), { recursive: true });
    writeFileSync(join(folder, "shop", "stripe.eu", "api-token"), "s3cret\n", { mode: 0o600 });
    expect(readCredentials(folder, refs)).toEqual({ ok: true, value: { SECRET_SHOP_STRIPE_EU_API_TOKEN: "s3cret" } });
  });
});

describe("self-hosted", () => {
  const text = (change: Partial<SiteRuntime> = {}) => workerdConfig(siteWorkerd({ ...RUNTIME, ...change }));

  test("secrets come from the environment, objects live in the ingress, the internet is public addresses", () => {
    const config = text();
    for (const name of ["RELAY_TOKEN", "BANK_TOKEN", "TUNNEL_TOKEN", "PASSPORT_KEY", "SECRET_SHOP_STRIPE_TOKEN"]) {
      expect(config).toContain(`(name = "${name}", fromEnvironment = "${name}")`);
    }
    expect(config).toContain('durableObjectNamespace = (className = "QuotaBank", serviceName = "ingress")');
    expect(config).toContain('network = (allow = ["public"]');
    expect(config).toContain('(name = "ALLOW_IP_UPSTREAMS", text = "0")');
    expect(text({ allowNetworks: ["10.0.0.0/8"] })).toContain('(name = "ALLOW_IP_UPSTREAMS", text = "1")');
  });

  test("the egress Worker has none of the ingress Worker's secrets", () => {
    const egress = siteWorkerd(RUNTIME).workers.find(({ name }) => name === "egress");
    expect(Object.keys(egress?.bindings ?? {})).toEqual(
      expect.not.arrayContaining(["RELAY_TOKEN", "BANK_TOKEN", "TUNNEL_TOKEN", "PASSPORT_KEY"]),
    );
  });

  test("a Worker beside it gets out through the egress only, and is known by its name", () => {
    const { workers, sockets } = siteWorkerd({
      ...RUNTIME,
      guests: [{ name: "checkout", entry: "checkout.ts", address: "127.0.0.1:8788" }],
    });
    expect(workers.at(-1)).toMatchObject({
      ...{ outbound: { service: "egress", entrypoint: "Egress", props: { service: "checkout" } } },
      bindings: { EGRESS: { entrypoint: "Egress", props: { service: "checkout" } } },
    });
    expect(sockets.at(-1)).toEqual({ name: "checkout", address: "127.0.0.1:8788", service: "checkout" });
  });

  test("a server that is told another Host is a service of its own", () => {
    const upstream = { binding: "UPSTREAM_API_TEST_443", address: "api.test:443", certificateHost: "api.test" };
    const config = text({ upstreams: [upstream] });
    expect(config).toContain('(name = "UPSTREAM_API_TEST_443", service = (name = "UPSTREAM_API_TEST_443"))');
    expect(config).toContain('external = (address = "api.test:443", https = (options = (), certificateHost = "api.test"');
  });

  test("values of the environment file survive a shell", () => {
    expect(environmentFile({ A: `{"k":"it's $HOME"}` })).toBe(`A='{"k":"it'\\''s $HOME"}'\n`);
  });

  test("the folder says how it is started, and nothing secret", () => {
    expect(siteReadme(RUNTIME)).toContain("npx workerd serve workerd.capnp");
  });
});

describe("on Cloudflare", () => {
  test("one file, an environment for each Worker, names of the site's own", () => {
    const toml = wranglerToml({ site: SITE, trust: TRUST, entries: { ingress: "/i.ts", egress: "/e.ts" }, remarks: [] });
    expect(toml).toContain('[env.ingress]\nname = "tidegate-europe-ingress"\nmain = "/i.ts"');
    expect(toml).toContain('script_name = "tidegate-europe-ingress"');
    expect(toml).toContain('"global_fetch_strictly_public"');
    expect(toml).toContain('pattern = "edge-eu.example.com", custom_domain = true');
    expect(toml).not.toMatch(/TOKEN|PASSPORT_KEY/);
  });

  test("MAX_WORKER_NAME_CHARS leaves room for a site's name", () => {
    expect(workerNames("a".repeat(40)).ingress.length).toBeLessThanOrEqual(MAX_WORKER_NAME_CHARS);
  });
});

describe("what may be shipped", () => {
  test("not more than MAX_WORKER_GZIP_BYTES", () => {
    expect(bundleProblem({ gzipBytes: MAX_WORKER_GZIP_BYTES, inputs: ["gateway/edge/ingress.ts"] })).toBeUndefined();
    expect(bundleProblem({ gzipBytes: MAX_WORKER_GZIP_BYTES + 1, inputs: [] })).toContain(String(MAX_WORKER_GZIP_BYTES));
  });

  test.each(["gateway/wire/index.ts", "../../gateway/node/log.ts", "node:fs", "controlplane/log.ts"])("not %s", (path) => {
    expect(bundleProblem({ gzipBytes: 1, inputs: ["gateway/core/index.ts", path] })).toContain(path);
  });
});
