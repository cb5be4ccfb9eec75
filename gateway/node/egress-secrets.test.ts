import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MAX_SECRET_LENGTH } from "../core/index.ts";
import { SecretFiles } from "./egress-secrets.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "secrets-"));
  mkdirSync(join(folder, "shop", "stripe"), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (key: string, text: string): void => writeFileSync(join(folder, "shop", "stripe", key), text);

it("reads a file without its last line end, and again when it changes, appears or goes", () => {
  const secrets = new SecretFiles(folder);
  const token = () => secrets.value("shop", "stripe", "token");
  expect(token()).toBeUndefined();
  write("token", "first\n");
  expect([token(), token()]).toEqual(["first", "first"]);
  write("token", "second one\r\n");
  expect(token()).toBe("second one");
  rmSync(join(folder, "shop", "stripe", "token"));
  expect(token()).toBeUndefined();
});

it("follows the links by which a mounted Secret is swapped", () => {
  const secrets = new SecretFiles(folder);
  write("old", "one");
  write("new", "two");
  const link = join(folder, "shop", "stripe", "token");
  symlinkSync("old", link);
  expect(secrets.value("shop", "stripe", "token")).toBe("one");
  rmSync(link);
  symlinkSync("new", link);
  expect(secrets.value("shop", "stripe", "token")).toBe("two");
});

it("reads nothing outside its folder, no folder, and nothing longer than a secret", () => {
  const secrets = new SecretFiles(join(folder, "shop"));
  write("token", "x");
  writeFileSync(join(folder, "outside"), "x");
  expect(secrets.value("stripe", "token", "")).toBeUndefined();
  expect(secrets.value("stripe", "..", "..")).toBeUndefined();
  expect(secrets.value("..", "shop", "stripe")).toBeUndefined();
  expect(secrets.value(".", "..", "outside")).toBeUndefined();
  expect(secrets.value("stripe/../..", ".", "outside")).toBeUndefined();
  const all = new SecretFiles(folder);
  write("long", `${"x".repeat(MAX_SECRET_LENGTH)}\n`);
  expect(all.value("shop", "stripe", "long")?.length).toBe(MAX_SECRET_LENGTH);
  write("long", "x".repeat(MAX_SECRET_LENGTH + 3));
  expect(all.value("shop", "stripe", "long")).toBeUndefined();
});
