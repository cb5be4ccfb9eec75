import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { secretFile } from "../core/ir/index.ts";
import { MAX_PEM_BYTES, PemFiles, pemBlocks } from "./pem-files.ts";

let directory: string;
let files: PemFiles;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-pem-"));
  mkdirSync(join(directory, "shop", "web"), { recursive: true });
  writeFileSync(join(directory, "shop", "web", "tls.crt"), "content");
  files = new PemFiles(directory);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("files", () => {
  test("by path, and by the name of a secret's key", () => {
    const path = join(directory, "shop", "web", "tls.crt");
    const read = files.read(secretFile("shop", "web", "tls.crt"));
    expect(read).toMatchObject({ ok: true, value: { text: "content" } });
    expect(files.read(path)).toEqual(read);
  });

  test.each([
    "secret:shop/web/../x",
    "secret:shop/web",
    "secret:../../etc/passwd",
    "secret:shop/web/a/b",
    "secret:shop//tls.crt",
    "secret:a b/c/d",
  ])("%s is in no secret", (name) => {
    expect(files.pathOf(name)).toBeUndefined();
    expect(files.read(name)).toEqual({ ok: false, error: `${name} is no secret's key; a secret is <namespace>/<name>/<key>` });
  });

  test("that cannot be read say why", () => {
    expect(files.read(join(directory, "gone"))).toEqual({
      ok: false,
      error: `${directory}/gone cannot be read: it does not exist`,
    });
    expect(files.read(directory)).toEqual({ ok: false, error: `${directory} cannot be read: it is a directory` });
  });

  test("of a size and no larger", () => {
    const path = join(directory, "large");
    writeFileSync(path, "");
    truncateSync(path, MAX_PEM_BYTES + 1);
    expect(files.read(path)).toEqual({
      ok: false,
      error: `${path} has ${MAX_PEM_BYTES + 1} bytes, at most ${MAX_PEM_BYTES} are read`,
    });
  });

  test("have a stamp that changes with them", () => {
    const path = join(directory, "stamped");
    const stamps = new Set([files.stamp([path, path])]);
    for (const text of ["one", "other"]) {
      writeFileSync(path, text);
      stamps.add(files.stamp([path, path]));
    }
    expect(files.stamp([path, path])).toBe([...stamps].at(-1));
    expect(stamps.size).toBe(3);
    expect(files.stamp(["secret:a/../b"])).toBe("-");
  });

  test("may be missing where a secret may leave them out, and nowhere else", () => {
    expect(files.readIfThere(secretFile("shop", "web", "ca.crl"))).toEqual({ ok: true, value: undefined });
    expect(files.readIfThere(secretFile("shop", "web", "tls.crt"))).toMatchObject({ ok: true, value: { text: "content" } });
    expect(files.readIfThere(join(directory, "ca.crl")).ok).toBe(false);
    expect(files.readIfThere("secret:shop/../ca.crl").ok).toBe(false);
  });
});

test("blocks of one kind, each by itself", () => {
  const block = (label: string, text: string) => `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----\n`;
  const text = `# a\n${block("CERTIFICATE", "1")}\n${block("X509 CRL", "2")}${block("CERTIFICATE", "3")}-----BEGIN CERTIFICATE-----\n4`;
  expect(pemBlocks(text, "CERTIFICATE")).toEqual([block("CERTIFICATE", "1"), block("CERTIFICATE", "3")]);
  expect(pemBlocks(text, "X509 CRL")).toEqual([block("X509 CRL", "2")]);
  expect(pemBlocks("", "CERTIFICATE")).toEqual([]);
});
