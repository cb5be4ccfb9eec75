import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadServerIdentity } from "./server-identity.ts";

const DAY_MS = 86_400_000;
const now = Date.UTC(2026, 10, 1);
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-identity-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("an identity is made once, is private, and is the authority's", async () => {
  const first = await loadServerIdentity(directory, ["localhost", "127.0.0.1"], now);
  const certificate = new X509Certificate(first.certificate);
  expect(certificate.verify(new X509Certificate(first.ca).publicKey)).toBe(true);
  expect(certificate.subjectAltName).toBe("DNS:control-plane.tidegate.internal, DNS:localhost, IP Address:127.0.0.1");
  for (const file of ["ca.key", "server.key"]) expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
  expect(await loadServerIdentity(directory, ["localhost"], now + DAY_MS)).toEqual(first);
});

test("the certificate is renewed after two thirds of its life, or for a new name, under the same authority", async () => {
  const first = await loadServerIdentity(directory, ["localhost"], now);
  const late = await loadServerIdentity(directory, ["localhost"], now + 61 * DAY_MS);
  expect(late.ca).toBe(first.ca);
  expect(late.certificate).not.toBe(first.certificate);
  const named = await loadServerIdentity(directory, ["localhost", "mesh.example.com"], now + 61 * DAY_MS);
  expect(new X509Certificate(named.certificate).subjectAltName).toContain("mesh.example.com");
});
