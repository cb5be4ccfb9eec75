/** EdgeSite objects and a control plane as it is started: sites are dialled, pushed to, waited for and shown, and follow the configuration. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { GatewayView, StatusResponse } from "../../controlplane/api/index.ts";
import { loadKeys } from "../../controlplane/snapshot/index.ts";
import { TestMesh } from "../support/mesh.ts";
import { RELAY_TOKEN, TestSite, until } from "../support/relay-site.ts";

let directory: string;
let mesh: TestMesh;
let site: TestSite;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-relay-plane-"));
  mesh = await TestMesh.prepare({ directory, declared: [80] });
  await mesh.startControl();
  const keys = await loadKeys(join(directory, "control", "keys"));
  if (!keys.ok) throw new Error(JSON.stringify(keys.error));
  site = await TestSite.start({ pin: keys.value.pin, audience: "edge-eu" });
});
afterAll(async () => {
  await mesh?.stop();
  await site?.end();
  rmSync(directory, { recursive: true, force: true });
});

const edgeSite = (change: Record<string, unknown> = {}) =>
  JSON.stringify({
    apiVersion: "mesh.tidegate.dev/v1",
    kind: "EdgeSite",
    metadata: { name: "europe", namespace: "shop" },
    spec: { url: `http://127.0.0.1:${site.port}`, audience: "edge-eu", runtime: "workerd", egress: true, ...change },
  });
const policy = (host: string) => `apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: payments, namespace: shop }
spec:
  from: [ { namespace: shop } ]
  allow: [ { name: stripe, hosts: [ ${host} ], ports: [ 443 ], protocol: https } ]
`;
async function view(): Promise<GatewayView | undefined> {
  const { pools } = await mesh.api.get<StatusResponse>("/status");
  return pools.flatMap(({ gateways }) => gateways).find(({ kind }) => kind === "site");
}
const untilView = (wanted: (site: GatewayView) => boolean) =>
  until(
    async () => {
      const seen = await view();
      return seen !== undefined && wanted(seen) ? seen : undefined;
    },
    () => mesh.output(),
  );

it("a site without a token is shown with the remedy, and dialled when the token is there", async () => {
  await mesh.api.post("/apply", { documents: [{ file: "site.yaml", text: edgeSite() }] });
  const seen = await untilView(({ reasons }) => reasons.length > 0);
  expect(seen).toMatchObject({ id: "europe", pool: "edge-eu", state: "disconnected" });
  expect(seen.reasons[0]).toContain("run: tidegate edge keys europe");
  const folder = join(directory, "control", "secrets", "shop", "europe");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "relay-token"), "not the site's token", { mode: 0o600 });
  await untilView(({ reasons }) => reasons.some((reason) => reason.includes("refuses the relay token")));
  writeFileSync(join(folder, "relay-token"), RELAY_TOKEN, { mode: 0o600 });
  const synced = await untilView(({ state }) => state === "synced");
  expect(synced.site).toMatchObject({ via: "websocket", enforced: synced.version });
  expect(mesh.output()).not.toContain(RELAY_TOKEN);
});

it("apply --wait answers when the site has it in force at its isolates", async () => {
  const { enforced } = await mesh.apply(policy("api.stripe.com"));
  expect(enforced).toMatchObject({ complete: true });
  const [seen] = enforced?.gateways.filter(({ kind }) => kind === "site") ?? [];
  expect(seen).toMatchObject({ state: "synced", site: { enforced: seen?.version } });
  expect(await site.current()).toMatchObject({ kind: "snapshot", version: seen?.version });
});

it("a site deployed for another audience says so in words", async () => {
  await site.kill();
  await site.run({ audience: "edge-us" });
  const seen = await untilView(({ state }) => state === "refused");
  expect(seen.reasons.join("\n")).toContain(
    "wrong audience: the site is deployed with AUDIENCE edge-us, its EdgeSite says edge-eu",
  );
  const { enforced } = await mesh.apply(policy("api.example.com"));
  expect(enforced).toMatchObject({ complete: false });
  await site.kill();
  await site.run();
  await untilView(({ state }) => state === "synced");
});

it("another address is dialled, and a site that is deleted is left", async () => {
  await mesh.api.post("/apply", { documents: [{ file: "site.yaml", text: edgeSite({ url: "http://127.0.0.1:9" }) }] });
  await untilView(({ state, site: details }) => state === "disconnected" && details?.url === "http://127.0.0.1:9");
  await mesh.api.post("/apply", { documents: [{ file: "site.yaml", text: edgeSite() }] });
  await untilView(({ state }) => state === "synced");
  await mesh.api.post("/delete", { refs: [{ kind: "EdgeSite", namespace: "shop", name: "europe" }] });
  await until(
    async () => (await view()) === undefined,
    () => mesh.output(),
  );
});
