import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { followRoots } from "../../gateway/core/ir/index.ts";
import { NOW_S } from "../../test/support/snapshots.ts";
import { DEFAULT_KEY_PLAN, initKeys, type KeyPlan, type KeyRing, loadKeys, type RotateOptions, rotateKeys } from "./keys.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tidegate-keys-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const plan = (change: Partial<KeyPlan> = {}): KeyPlan => ({ ...DEFAULT_KEY_PLAN, iss: "mesh.test", ...change });
const rotate: RotateOptions = { replace: "online", nowS: NOW_S, validityS: 86_400, raiseEpoch: false };
async function init(change: Partial<KeyPlan> = {}): Promise<KeyRing> {
  const made = await initKeys(directory, plan(change), NOW_S);
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}
async function rotated(change: Partial<RotateOptions> = {}): Promise<KeyRing> {
  const next = await rotateKeys(directory, { ...rotate, ...change });
  if (!next.ok) throw new Error(JSON.stringify(next.error));
  return next.value;
}
const onlineFile = async (place = "online") => join(directory, place, (await readdir(join(directory, place)))[0]!);

describe("init", () => {
  test.each(["EdDSA", "ES256"] as const)("makes a root and keys (%s) that only the owner can read", async (alg) => {
    const ring = await init({ alg });
    expect(ring.root.document).toMatchObject({ version: 1, epoch: 1, iss: "mesh.test", expires: NOW_S + 365 * 86_400 });
    expect(ring.pin).toBe(ring.root.hash);
    expect(ring.signers.map((signer) => signer.alg)).toEqual([alg]);
    for (const place of ["online", "offline"]) {
      expect((await stat(join(directory, place))).mode & 0o777).toBe(0o700);
      expect((await stat(await onlineFile(place))).mode & 0o777).toBe(0o600);
    }
    const root = await readFile(join(directory, "roots/1.json"), "utf8");
    const payload = Buffer.from((JSON.parse(root) as { payload: string }).payload, "base64url").toString();
    expect(payload).not.toContain('"d"');
  });

  test("separate roles and thresholds", async () => {
    const ring = await init({
      separateRoles: true,
      onlineKeys: 2,
      threshold: 2,
      wideningThreshold: 2,
      rootKeys: 3,
      rootThreshold: 2,
    });
    const { roles, keys } = ring.root.document;
    expect(keys).toHaveLength(9);
    expect(new Set([...roles.routes.kids, ...roles.egress.kids, ...roles.quota.kids]).size).toBe(6);
    expect(roles.egress).toMatchObject({ threshold: 2, wideningThreshold: 2 });
    expect(ring.signers).toHaveLength(6);
  });

  test("twice in one directory is refused", async () => {
    await init();
    expect(await initKeys(directory, plan(), NOW_S)).toMatchObject({
      ok: false,
      error: [{ problem: expect.stringContaining("has a trust root already") }],
    });
  });

  test("every problem of a plan at once", async () => {
    const wrong = await initKeys(
      directory,
      plan({ iss: "", rootKeys: 0, threshold: 2, wideningThreshold: 3, validityS: 1 }),
      NOW_S,
    );
    const paths = wrong.ok ? [] : wrong.error.map((issue) => issue.path);
    expect(paths).toEqual(["rootKeys", "rootThreshold", "threshold", "wideningThreshold", "iss", "validityS"]);
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("rotate", () => {
  test("replaces online keys under a root that a reader of the first one follows", async () => {
    const before = await init({ onlineKeys: 2 });
    const after = await rotated();
    expect(after.root.document).toMatchObject({ version: 2, epoch: 1 });
    expect(after.pin).toBe(before.pin);
    const old = new Set(before.signers.map((signer) => signer.kid));
    expect(after.signers).toHaveLength(2);
    expect(after.signers.some((signer) => old.has(signer.kid))).toBe(false);
    expect(await readdir(join(directory, "online"))).toHaveLength(2);
    expect(await followRoots(before.pin, after.roots, NOW_S)).toMatchObject({ ok: true, value: { document: { version: 2 } } });
  });

  test("replaces root keys, and then everything, again and again", async () => {
    const before = await init({ rootKeys: 3, rootThreshold: 2 });
    await rotated({ replace: "root" });
    await rotated({ replace: "all", raiseEpoch: true });
    const after = await rotated({ replace: "none" });
    expect(after.root.document).toMatchObject({ version: 4, epoch: 2 });
    expect(after.chain).toHaveLength(4);
    expect(await followRoots(before.pin, after.roots, NOW_S)).toMatchObject({ ok: true });
    expect(await readdir(join(directory, "offline"))).toHaveLength(3);
  });

  test("without enough root keys at hand is refused and changes nothing", async () => {
    await init({ rootKeys: 2, rootThreshold: 2 });
    await rm(await onlineFile("offline"));
    const before = await readdir(join(directory, "online"));
    expect(await rotateKeys(directory, rotate)).toMatchObject({
      ok: false,
      error: [{ problem: expect.stringContaining("needs 2 of the root keys") }],
    });
    expect(await readdir(join(directory, "online"))).toEqual(before);
    expect(await readdir(join(directory, "roots"))).toEqual(["1.json"]);
  });

  test("publishing needs no root key", async () => {
    await init();
    await rm(join(directory, "offline"), { recursive: true });
    expect(await loadKeys(directory)).toMatchObject({ ok: true });
  });
});

describe("what is wrong with a directory", () => {
  const problemOf = async () => {
    const ring = await loadKeys(directory);
    return ring.ok ? "" : ring.error.map((issue) => issue.problem).join("; ");
  };

  test("nothing there", async () => expect(await problemOf()).toMatch(/no trust root: make one/));

  test.each([0o644, 0o640, 0o604, 0o660])("a key file of mode %o", async (mode) => {
    await init();
    await chmod(await onlineFile(), mode);
    expect(await problemOf()).toMatch(/chmod 600/);
  });

  test("a key file that is a link", async () => {
    await init();
    const path = await onlineFile();
    const elsewhere = join(directory, "elsewhere.json");
    await writeFile(elsewhere, await readFile(path), { mode: 0o600 });
    await rm(path);
    await symlink(elsewhere, path);
    expect(await problemOf()).toMatch(/regular file/);
  });

  test("a key file with other content, without a word of it", async () => {
    await init();
    const path = await onlineFile();
    const secret = (JSON.parse(await readFile(path, "utf8")) as { d: string }).d;
    await writeFile(path, `{"d":"${secret}"`);
    expect(await problemOf()).toMatch(/no private key in JWK form/);
    await writeFile(path, await readFile(await onlineFile("offline")));
    expect(await problemOf()).toMatch(/not the private key that its name says/);
    expect(await problemOf()).not.toContain(secret);
  });

  test("a root that was tampered with, and one that is missing in the middle", async () => {
    await init();
    const path = join(directory, "roots/1.json");
    const good = await readFile(path, "utf8");
    await writeFile(path, good.replace(/"signature":"../, '"signature":"AA'));
    expect(await problemOf()).toMatch(/does not fit/);
    await writeFile(path, "{}");
    expect(await problemOf()).toMatch(/cannot be read/);
    await writeFile(path, good);
    await rotated();
    await rotated();
    await rm(join(directory, "roots/2.json"));
    expect(await problemOf()).toMatch(/cannot follow/);
  });
});
