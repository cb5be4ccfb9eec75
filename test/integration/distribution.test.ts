/** Distribution over real gRPC on loopback: enrolment, offers, answers, and what each side does when the other lies or goes away. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, type Metadata as GrpcMetadata, Metadata, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MAX_FETCH_HASHES, MAX_MESSAGE_BYTES, MAX_REQUEST_MESSAGE_BYTES } from "../../controlplane/distribute/grpc.ts";
import { DEFAULT_AGES, loadKeys } from "../../controlplane/snapshot/index.ts";
import { chunkRefs, DEFAULT_SNAPSHOT_LIMITS, snapshotVersion } from "../../gateway/core/ir/index.ts";
import { MAX_CONTROL_MESSAGE_BYTES } from "../../gateway/node/control-link.ts";
import { MAX_STATE_FILE_BYTES } from "../../gateway/node/control-store.ts";
import {
  create,
  FetchChunksSchema,
  grpcDefinition,
  HelloSchema,
  SnapshotService,
  SubscribeRequestSchema,
} from "../../gateway/wire/proto/index.ts";
import {
  type ControlledGatewayOptions,
  controlledGateway,
  RecordingInstaller,
  type TestControlledGateway,
  TestControlPlane,
} from "../support/control.ts";
import { eventually } from "../support/gateway.ts";
import { egressConfig, egressRule, makeSnapshot } from "../support/snapshots.ts";

let plane: TestControlPlane;
let state: string;
const running: TestControlledGateway[] = [];
const planes: TestControlPlane[] = [];

async function newPlane(): Promise<TestControlPlane> {
  const made = await TestControlPlane.start();
  planes.push(made);
  return made;
}

beforeEach(async () => {
  plane = await newPlane();
  state = mkdtempSync(join(tmpdir(), "tidegate-gateway-"));
});

afterEach(async () => {
  for (const gateway of running.splice(0)) await gateway.client.stop();
  for (const made of planes.splice(0)) await made.end();
  rmSync(state, { recursive: true, force: true });
});

async function gateway(options: Partial<ControlledGatewayOptions> = {}): Promise<TestControlledGateway> {
  const made = controlledGateway({ state, port: plane.port, ...options });
  running.push(made);
  await made.client.start();
  return made;
}

/** Stops it and starts another on the same state directory, as after a restart. */
async function restarted(before: TestControlledGateway, options: Partial<ControlledGatewayOptions> = {}) {
  await before.client.stop();
  return await gateway(options);
}

const seen = () => plane.server.status()[0];
const until = (made: TestControlledGateway, version: string) => eventually(() => made.client.status().version === version);
const untilState = (kind: string) => eventually(() => seen()?.state.kind === kind);
const routes = (count: number) => makeSnapshot(count);

describe("enrolment", () => {
  test("a join token makes the gateway a member of the token's pool, once", async () => {
    await plane.publish(routes(3));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await untilState("synced");
    expect(seen()).toMatchObject({ id: "gw-1", pool: "ingress", connected: true, software: "test" });
    expect(one.client.status()).toMatchObject({ connected: true, pool: "ingress", lastError: undefined });
    expect(statSync(join(state, "gateway.json")).mode & 0o777).toBe(0o600);
    // Enrolled for good: the next start needs no token.
    const again = await restarted(one);
    await eventually(() => again.client.status().connected);
    expect(again.logged.some((line) => line.includes("enrolled"))).toBe(false);
  });

  test.each([
    ["wrong", () => plane.token({ secret: "guessed" }), "unknown join token"],
    ["expired", () => plane.token({}, 1, -1000), "has expired"],
    ["used up", () => plane.token({}, 0), "used up"],
  ])("a token that is %s is refused with the reason", async (_, token, reason) => {
    const one = await gateway({ joinToken: token() });
    await eventually(() => one.client.status().lastError !== undefined);
    expect(one.client.status().lastError).toContain(reason);
    expect(one.client.status()).toMatchObject({ connected: false, pool: undefined });
    expect(plane.server.status()).toEqual([]);
    expect(plane.logged.join()).toContain(reason);
  });

  test("without enrolment and without a token there is one clear message", async () => {
    const made = controlledGateway({ state, port: plane.port });
    await expect(made.client.start()).rejects.toThrow(/not enrolled: give it a join token with --join-token-file/);
  });

  test("a control plane with another certificate authority is not talked to", async () => {
    const other = await newPlane();
    const one = await gateway({ joinToken: { ...plane.token(), ca: other.token().ca } });
    await eventually(() => one.client.status().lastError !== undefined);
    expect(one.client.status().lastError).toMatch(/certificate|issuer|signature|self.signed/i);
    expect(plane.server.status()).toEqual([]);
  });

  test("a control plane with another trust root is not believed", async () => {
    const other = await newPlane();
    const one = await gateway({ joinToken: plane.token({ rootHash: other.keys.pin }) });
    await eventually(() => one.client.status().lastError?.includes("is not the one that the join token pins") === true);
    expect(one.installer.versions).toEqual([]);
  });

  test("a state directory of another pool is named, not taken over", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await one.client.stop();
    const made = controlledGateway({ state, port: plane.port, joinToken: plane.token({ pool: "egress" }) });
    await expect(made.client.start()).rejects.toThrow(/belongs to a gateway of pool ingress, the join token is for pool egress/);
  });

  test("a credential that was taken away ends the stream; what is in force stays", async () => {
    await plane.publish(routes(1));
    const token = plane.token();
    const one = await gateway({ joinToken: token });
    await until(one, "1.1");
    await one.client.stop();
    const again = await gateway({ installer: new RecordingInstaller() });
    await eventually(() => again.client.status().connected);
    expect(plane.server.revoke("gw-1")).toBe(true);
    expect(plane.server.revoke("gw-1")).toBe(false);
    await eventually(() => again.client.status().lastError?.includes("enrol this gateway with a join token") === true);
    expect(again.client.status()).toMatchObject({ connected: false, version: "1.1" });
    expect(plane.server.status()).toEqual([]);
    // With a fresh token it comes back.
    const back = await restarted(again, { joinToken: plane.token() });
    await eventually(() => back.client.status().connected);
    expect(back.client.status().version).toBe("1.1");
  });
});

describe("offers", () => {
  test("only the chunks that changed are fetched", async () => {
    const first = await plane.publish(routes(20));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    expect(plane.served.toSorted()).toEqual([...first.chunks.keys()].toSorted());
    plane.served.length = 0;
    const base = routes(20);
    const [cluster, ...rest] = base.endpoints;
    const endpoints = [{ cluster: cluster?.cluster ?? "", endpoints: [{ address: "10.9.9.9", port: 1, weight: 1 }] }, ...rest];
    const second = await plane.publish({ ...base, endpoints });
    await until(one, "1.2");
    const fresh = [...second.chunks.keys()].filter((hash) => !first.chunks.has(hash));
    expect(plane.served).toEqual(fresh);
    expect(fresh.length).toBe(1);
    // Content that is held is never fetched again, not even by a start from disk.
    plane.served.length = 0;
    const again = await restarted(one);
    await eventually(() => again.client.status().connected);
    await plane.publish(base);
    await until(again, "1.3");
    expect(plane.served).toEqual([...first.chunks.keys()].filter((hash) => !second.chunks.has(hash)));
  });

  test("manifests in quick succession: the newest ends in force, none is answered twice", async () => {
    const one = await gateway({ joinToken: plane.token() });
    await eventually(() => one.client.status().connected);
    for (let i = 1; i <= 12; i++) await plane.publish(routes(i));
    await until(one, "1.12");
    await eventually(() => snapshotVersionOf(seen()?.state) === "1.12");
    expect(one.installer.versions.at(-1)).toBe("1.12");
    expect(new Set(one.installer.versions).size).toBe(one.installer.versions.length);
  });

  test("a refusal names what and why in the status; the version before stays in force", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    one.installer.judge = () => ({
      kind: "refused",
      code: "not_compiled",
      problems: [{ name: "routes/shop", reason: "a regex of another world" }],
    });
    await plane.publish(routes(2));
    await untilState("refused");
    expect(seen()?.state).toMatchObject({
      refused: { epoch: 1, version: 2 },
      held: { epoch: 1, version: 1 },
      detail: { code: "not_compiled", problems: [{ name: "routes/shop", reason: "a regex of another world" }] },
    });
    expect(one.client.status()).toMatchObject({ version: "1.1", refused: { version: "1.2", code: "not_compiled" } });
    one.installer.judge = () => undefined;
    await plane.publish(routes(3));
    await until(one, "1.3");
    expect(one.client.status().refused).toBeUndefined();
  });

  test("what is in force but for a taken port is said, also after the stream was cut", async () => {
    await plane.publish(routes(1));
    const busy = { name: "127.0.0.1:80", reason: "is in use by another process" };
    const installer = new RecordingInstaller();
    installer.judge = () => ({ kind: "in-force", problems: [busy] });
    const one = await gateway({ joinToken: plane.token(), installer });
    await untilState("synced");
    const partly = { kind: "synced", held: { epoch: 1, version: 1 }, problems: { code: "partly", problems: [busy] } };
    expect(seen()?.state).toMatchObject(partly);
    await plane.stop();
    await eventually(() => !one.client.status().connected);
    await plane.listen();
    await eventually(() => one.client.status().connected && "problems" in (seen()?.state ?? {}));
    expect(seen()?.state).toMatchObject(partly);
    expect(one.installer.versions).toEqual(["1.1"]);
  });

  test("a snapshot that is not what the signers may say is refused and nothing is installed", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    const other = await newPlane();
    const forged = await other.publish(routes(2));
    plane.forged = { ref: { epoch: 1, version: 2 }, jws: forged.jws };
    plane.server.published("ingress");
    await untilState("refused");
    expect(one.client.status()).toMatchObject({ version: "1.1", refused: { version: "unknown" } });
    expect(one.installer.versions).toEqual(["1.1"]);
  });

  test("a hostile control plane cannot lead back to an older snapshot", async () => {
    const old = await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await plane.publish(routes(2));
    await until(one, "1.2");
    plane.forged = { ref: old.manifest, jws: old.jws };
    plane.server.published("ingress");
    await eventually(() => one.client.status().refused !== undefined);
    expect(one.client.status()).toMatchObject({ version: "1.2", refused: { code: "rollback" } });
    // Nor after a restart, nor by a gateway that has just enrolled with a floor.
    const again = await restarted(one);
    await eventually(() => again.client.status().refused !== undefined);
    expect(again.client.status()).toMatchObject({ version: "1.2", refused: { code: "rollback" } });
    const fresh = await gateway({
      state: join(state, "fresh"),
      joinToken: plane.token({ floor: { epoch: 1, version: 2 } }),
      installer: new RecordingInstaller(),
    });
    await eventually(() => fresh.client.status().refused !== undefined);
    expect(fresh.client.status()).toMatchObject({ version: undefined, refused: { code: "rollback" } });
  });

  test("an offer that cannot be written down is refused, and the one before stays", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    rmSync(state, { recursive: true });
    writeFileSync(state, "");
    await plane.publish(routes(2));
    await untilState("refused");
    expect(seen()?.state).toMatchObject({ detail: { code: "not_persisted" } });
    expect(one.client.status().version).toBe("1.1");
  });

  test("trust roots are followed live, and what they sign is taken", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    const pin = plane.keys.pin;
    const rotated = await plane.rotate();
    await until(one, rotated.id);
    expect(one.logged.join()).toContain("trust root followed");
    expect(plane.keys.root.document.version).toBe(2);
    // It is on disk too, and the next start follows it from the pinned one.
    const again = await restarted(one);
    expect(again.client.status().version).toBe(rotated.id);
    expect(again.installer.versions).toEqual([rotated.id]);
    const ring = await loadKeys(join(plane.directory, "keys"));
    expect(ring.ok && ring.value.pin).toBe(pin);
  });

  /** Seconds until a rollout begins: a busy machine has told the gateway of it before. */
  const SOON_S = 2;

  test("a rollout that has not begun is waited for; then it is taken", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await plane.publish(routes(2), { salt: "a", percent: 100, notBefore: Math.ceil(Date.now() / 1000) + SOON_S });
    await eventually(() => one.logged.some((line) => line.includes("snapshot waits for its rollout")));
    expect(one.client.status().version).toBe("1.1");
    expect(seen()?.state).toMatchObject({ kind: "offered", offered: { epoch: 1, version: 2 } });
    await until(one, "1.2");
    expect(one.installer.versions).toEqual(["1.1", "1.2"]);
  });

  test("what waits for its rollout is forgotten when something newer comes", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    const notBefore = Math.ceil(Date.now() / 1000) + SOON_S;
    await plane.publish(routes(2), { salt: "a", percent: 100, notBefore });
    await eventually(() => one.logged.some((line) => line.includes("snapshot waits for its rollout")));
    await plane.publish(routes(3));
    await until(one, "1.3");
    await eventually(() => Date.now() > notBefore * 1000 + 100);
    expect(one.installer.versions).toEqual(["1.1", "1.3"]);
    expect(seen()?.state.kind).toBe("synced");
    expect(one.client.status().refused).toBeUndefined();
  });

  test("egress rules travel in a section of their own", async () => {
    await plane.publish(makeSnapshot(1, { egress: egressConfig([egressRule()]) }));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    expect(one.installer.held?.snapshot.egress?.policies[0]?.allow[0]?.name).toBe("stripe");
  });
});

describe("without a control plane", () => {
  test("reconnects after it was gone, and gets what is new", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await plane.stop();
    await eventually(() => one.client.status().lastError !== undefined);
    expect(one.client.status()).toMatchObject({ connected: false, version: "1.1" });
    expect(one.logged.filter((line) => line.includes("no control plane")).length).toBeGreaterThan(0);
    await plane.listen();
    await plane.publish(routes(2));
    await until(one, "1.2");
    expect(one.client.status()).toMatchObject({ connected: true, lastError: undefined });
  });

  test("is connected also when there is no news", async () => {
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    const again = await restarted(one);
    await eventually(() => again.client.status().connected);
    expect(seen()).toMatchObject({ connected: true, state: { kind: "synced", held: { epoch: 1, version: 1 } } });
    expect(plane.served.length).toBe(new Set(plane.served).size);
  });

  test("starts with its last good snapshot from disk", async () => {
    const published = await plane.publish(routes(4));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await one.client.stop();
    await plane.stop();
    const again = await gateway();
    expect(again.installer.versions).toEqual(["1.1"]);
    expect(again.installer.held?.snapshot).toEqual(published.snapshot);
    expect(again.logged.join()).toContain("serving the last good snapshot from disk");
    await plane.listen();
  });

  test("an old snapshot says that it has grown old, and when the next section will", async () => {
    const soft = { softS: 600, hardS: 1200, failMode: "keep" } as const;
    plane.useAges({ ...DEFAULT_AGES, routes: soft, egress: { softS: 900, hardS: 1000, failMode: "closed" } });
    await plane.publish(routes(1));
    let aheadMs = 0;
    const unixMs = () => Date.now() + aheadMs;
    const one = await gateway({ joinToken: plane.token(), unixMs });
    await until(one, "1.1");
    expect(one.installer.ages.at(-1)?.sections.routes).toEqual({ kind: "fresh" });
    aheadMs = 601_000;
    expect(one.client.status().age?.sections.routes.kind).toBe("stale");
    const again = await restarted(one, { unixMs });
    expect(again.installer.ages.at(-1)?.sections).toMatchObject({ routes: { kind: "stale" }, egress: { kind: "fresh" } });
    aheadMs = 1_300_000;
    const late = await restarted(again, { unixMs });
    expect(late.installer.versions).toEqual(["1.1"]);
    expect(late.installer.ages.at(-1)?.sections).toMatchObject({
      routes: { kind: "expired", failMode: "keep" },
      egress: { kind: "expired", failMode: "closed" },
    });
  });

  test("the moment of growing old is told while it runs", async () => {
    const age = { softS: 2, hardS: 600, failMode: "keep" } as const;
    plane.useAges({ routes: age, egress: age, quota: age });
    await plane.publish(routes(1));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    expect(one.installer.ages[0]?.sections.routes.kind).toBe("fresh");
    await eventually(() => one.installer.ages.at(-1)?.sections.routes.kind === "stale");
  });
});

describe("what somebody changed on the disk", () => {
  /** A gateway that held version 1.1, stopped; the control plane is away. */
  async function stopped(): Promise<void> {
    await plane.publish(routes(5));
    const one = await gateway({ joinToken: plane.token() });
    await until(one, "1.1");
    await one.client.stop();
    await plane.stop();
  }
  const chunkFiles = () => readdirSync(join(state, "chunks")).map((name) => join(state, "chunks", name));

  test.each([
    [
      "the manifest",
      () => {
        const current = JSON.parse(readFileSync(join(state, "current.json"), "utf8"));
        const jws = JSON.parse(current.manifest);
        const payload = Buffer.from(jws.payload, "base64url").toString().replace('"version":1', '"version":7');
        const manifest = JSON.stringify({ ...jws, payload: Buffer.from(payload).toString("base64url") });
        writeFileSync(join(state, "current.json"), JSON.stringify({ ...current, manifest }));
      },
      "signature",
    ],
    [
      "a chunk",
      () => {
        const file = chunkFiles().find((path) => readFileSync(path, "utf8").includes("/api/v1/resource-")) ?? "";
        writeFileSync(file, readFileSync(file, "utf8").replace("/api/v1/resource-", "/api/v2/resource-"));
      },
      "is not what the manifest names",
    ],
    [
      "a chunk that is gone",
      () => {
        rmSync(chunkFiles()[0] ?? "");
      },
      "did not come",
    ],
    ["current.json", () => writeFileSync(join(state, "current.json"), "{"), "current.json is damaged"],
    [
      "current.json that is too large",
      () => truncateSync(join(state, "current.json"), MAX_STATE_FILE_BYTES + 1),
      "current.json is damaged",
    ],
    [
      "what was accepted",
      () => {
        const current = JSON.parse(readFileSync(join(state, "current.json"), "utf8"));
        writeFileSync(join(state, "current.json"), JSON.stringify({ ...current, accepted: { epoch: "1" } }));
      },
      "what was accepted last is damaged",
    ],
  ])("%s: refused with its reason, nothing is installed, and the control plane mends it", async (_, tamper, reason) => {
    await stopped();
    tamper();
    const again = await gateway();
    const refusal = again.logged.find((line) => line.includes("the last good snapshot on disk was refused"));
    expect(refusal).toContain("error:");
    expect(refusal).toContain(reason);
    expect(again.installer.versions).toEqual([]);
    await plane.listen();
    await until(again, "1.1");
    await again.client.stop();
    await plane.stop();
    const mended = await gateway();
    expect(mended.installer.versions).toEqual(["1.1"]);
    await plane.listen();
  });

  test("a trust root: enrolling again mends it", async () => {
    await stopped();
    writeFileSync(join(state, "root-1.jws"), "{}");
    const again = await gateway({ joinToken: plane.token() });
    expect(again.logged.join()).toContain("the trust roots on disk are not usable; enrol again with a join token");
    expect(again.installer.versions).toEqual([]);
    await plane.listen();
    await until(again, "1.1");
    const mended = await restarted(again);
    expect(mended.installer.versions).toEqual(["1.1"]);
  });

  test("who the gateway is: told with the file, and a join token helps", async () => {
    await stopped();
    writeFileSync(join(state, "gateway.json"), JSON.stringify({ gatewayId: "gw-1" }));
    const again = await gateway({ joinToken: plane.token() });
    expect(again.logged.join()).toMatch(/who this gateway is cannot be read.*gateway\.json/);
    await plane.listen();
    await until(again, "1.1");
  });
});

describe("limits", () => {
  test("messages have room for the largest chunk, both ways alike", () => {
    expect(MAX_MESSAGE_BYTES).toBe(MAX_CONTROL_MESSAGE_BYTES);
    expect(DEFAULT_SNAPSHOT_LIMITS.maxChunkBytes).toBeLessThan(MAX_CONTROL_MESSAGE_BYTES);
  });

  test("more than MAX_FETCH_HASHES chunks at once end the stream", async () => {
    const published = await plane.publish(routes(1));
    const token = plane.token();
    const enrolled = plane.enrolment.enrol("raw", token.id, token.secret);
    if (enrolled.kind !== "enrolled") throw new Error(enrolled.reason);
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${enrolled.credential}`);
    const [chunk] = chunkRefs(published.manifest);
    const ask = async (count: number, hash = chunk?.hash ?? "") => await rawFetch(token.ca, metadata, hash, count);
    expect(await ask(MAX_FETCH_HASHES)).toBe("chunks");
    expect(await ask(MAX_FETCH_HASHES + 1)).toBe(status.RESOURCE_EXHAUSTED);
    expect(await ask(1, "x".repeat(MAX_REQUEST_MESSAGE_BYTES))).toBe(status.RESOURCE_EXHAUSTED);
  });

  /** What comes of asking for one chunk so many times. */
  async function rawFetch(ca: string, metadata: GrpcMetadata, hash: string, count: number): Promise<"chunks" | status> {
    const method = grpcDefinition(SnapshotService, (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))[
      "subscribe"
    ];
    if (method === undefined) throw new Error("no such method");
    const client = new Client(`127.0.0.1:${plane.port}`, credentials.createSsl(Buffer.from(ca)), {
      "grpc.ssl_target_name_override": "control-plane.tidegate.internal",
    });
    const stream = client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, metadata, {});
    const outcome = new Promise<"chunks" | status>((resolve) => {
      let chunks = 0;
      stream.on("data", (message: { message: { case: string } }) => {
        chunks += message.message.case === "chunk" ? 1 : 0;
        if (chunks === count) resolve("chunks");
      });
      stream.on("error", (error: { code: status }) => resolve(error.code));
    });
    stream.write(
      create(SubscribeRequestSchema, { message: { case: "hello", value: create(HelloSchema, { gatewayId: "raw" }) } }),
    );
    const fetch = create(FetchChunksSchema, { hashes: Array.from({ length: count }, () => hash) });
    stream.write(create(SubscribeRequestSchema, { message: { case: "fetch", value: fetch } }));
    const told = await outcome;
    stream.cancel();
    client.close();
    return told;
  }
});

function snapshotVersionOf(state: unknown): string | undefined {
  const { kind, held } = state as { kind: string; held?: { epoch: number; version: number } };
  return kind === "synced" && held !== undefined ? snapshotVersion(held) : undefined;
}
