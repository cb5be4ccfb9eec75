import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MAX_SECRET_BYTES, Secret, type SecretProblem, secretDirectory } from "./secrets.ts";

/** Part of every POSIX system. */
const MAKE_PIPE = "mkfifo";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-secrets-"));
  mkdirSync(join(directory, "shop", "edge-eu"), { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const place = (key: string) => join(directory, "shop", "edge-eu", key);

function write(key: string, text: string, mode = 0o600): void {
  writeFileSync(place(key), text);
  chmodSync(place(key), mode);
}

/** The text, or the problem. */
function read(key: string, name = "edge-eu", namespace = "shop"): string | SecretProblem {
  const secret = secretDirectory(directory).read({ namespace, name, key });
  return secret.ok ? secret.value.reveal() : secret.error;
}

test("a file is a secret, without the line's end that an editor puts there", () => {
  write("relay-token", "hunter2\n");
  expect(read("relay-token")).toBe("hunter2");
  write("relay-token", "two\nlines\r\n", 0o640);
  expect(read("relay-token")).toBe("two\nlines");
});

test("as Kubernetes mounts it, behind a link", () => {
  write("..data", "hunter2");
  symlinkSync(place("..data"), place("relay-token"));
  expect(read("relay-token")).toBe("hunter2");
});

test("what is not there is missing, and the file is named", () => {
  expect(read("bank-token")).toEqual({ kind: "missing", message: `there is no ${place("bank-token")}` });
  expect(read("bank-token", "other")).toMatchObject({ kind: "missing" });
  write("bank-token", "x");
  expect(secretDirectory(place("bank-token")).read({ namespace: "a", name: "b", key: "c" })).toMatchObject({
    error: { kind: "missing" },
  });
});

test.each([0o604, 0o644, 0o620, 0o601])("mode %o is too open", (mode) => {
  write("relay-token", "hunter2", mode);
  const file = place("relay-token");
  const message = `${file} may be read by others or changed by its group; run: chmod 600 ${file}`;
  expect(read("relay-token")).toEqual({ kind: "unusable", message });
});

test("MAX_SECRET_BYTES: the most that is read", () => {
  write("relay-token", "x".repeat(MAX_SECRET_BYTES));
  expect(read("relay-token")).toHaveLength(MAX_SECRET_BYTES);
  write("relay-token", "x".repeat(MAX_SECRET_BYTES + 1));
  expect(read("relay-token")).toMatchObject({ message: expect.stringContaining(`larger than ${MAX_SECRET_BYTES} bytes`) });
});

test("no file, nothing in it, a pipe that nobody writes to", () => {
  write("relay-token", "\n");
  expect(read("relay-token")).toMatchObject({ message: expect.stringContaining("is empty") });
  mkdirSync(place("folder"), { mode: 0o700 });
  expect(read("folder")).toMatchObject({ message: expect.stringContaining("is not a file") });
  execFileSync(MAKE_PIPE, ["-m", "600", place("pipe")]);
  expect(read("pipe")).toMatchObject({ message: expect.stringContaining("is not a file") });
});

test.each([
  ["..", "edge-eu", "shop"],
  ["relay-token", "..", "shop"],
  ["relay-token", "edge-eu", "../shop"],
  ["a/b", "edge-eu", "shop"],
  ["", "edge-eu", "shop"],
  ["a".repeat(254), "edge-eu", "shop"],
])("%j of %j in %j is no secret's name", (key, name, namespace) => {
  expect(read(key, name, namespace)).toMatchObject({ kind: "unusable", message: expect.stringContaining("use letters") });
});

test("a secret does not show itself", () => {
  const secret = new Secret("hunter2");
  const shown = [String(secret), `${secret}`, JSON.stringify({ secret }), inspect({ secret }, { showHidden: true, depth: 9 })];
  expect(shown.filter((text) => text.includes("hunter2"))).toEqual([]);
  expect(shown.filter((text) => !text.includes("[redacted]"))).toEqual([]);
});
