import { describe, expect, test } from "vitest";
import { secretFile, secretOf } from "../tls.ts";
import { runCheck } from "./check.ts";
import { clientTls, serverTls } from "./tls.ts";

const HASH = "0123456789abcdef".repeat(4);
const SPKI = `${"A".repeat(43)}=`;
const certificates = {
  certificateFile: "/c.pem",
  privateKeyFile: "/k.pem",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  cipherSuites: ["ECDHE-ECDSA-AES128-GCM-SHA256"],
};
const client = {
  caFile: "/ca.pem",
  crlFile: "/crl.pem",
  subjectAltNames: ["spiffe://mesh/ns/a/sa/b"],
  spkiPins: [SPKI],
  hashPins: [HASH],
  insecureSkipVerify: false,
};
const { caFile: _ca, crlFile: _crl, ...pinned } = client;

function problems(check: typeof serverTls | typeof clientTls, value: unknown): readonly string[] {
  const read = runCheck(check as typeof serverTls, structuredClone(value));
  return read.ok ? [] : read.error.map(({ path, problem }) => `${path}: ${problem}`);
}

describe("TLS of a server", () => {
  test.each([
    { mode: "simple", ...certificates },
    { mode: "simple", ...certificates, otherCertificates: [{ certificateFile: "/r.pem", privateKeyFile: "/r.key" }] },
    { mode: "mutual", ...certificates, client },
    { mode: "optional-mutual", ...certificates, client: { ...pinned, insecureSkipVerify: true } },
    { mode: "platform" },
  ])("$mode decodes", (tls) => {
    expect(problems(serverTls, tls)).toEqual([]);
  });

  test.each<[string, object, string]>([
    ["nobody says what passes", { client: { ...pinned } }, "client.caFile: required unless insecureSkipVerify"],
    ["rules are missing", {}, "client: required field is missing"],
    ["an authority beside no check", { client: { ...client, insecureSkipVerify: true } }, "client.caFile: not allowed with"],
    ["a pin that is none", { client: { ...client, spkiPins: ["x".repeat(44)] } }, "client.spkiPins[0]: must be a SHA-256"],
    ["a hash in capitals", { client: { ...client, hashPins: [HASH.toUpperCase()] } }, "client.hashPins[0]: must be a SHA-256"],
  ])("refused: %s", (_, change, problem) => {
    expect(problems(serverTls, { mode: "mutual", ...certificates, ...change }).join("\n")).toContain(problem);
  });
});

describe("TLS towards an origin", () => {
  const simple = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false };
  const own = { certificateFile: "/c.pem", privateKeyFile: "/k.pem" };
  test("has a certificate of ours exactly if it is mutual", () => {
    expect(problems(clientTls, simple)).toEqual([]);
    expect(problems(clientTls, { ...simple, mode: "mutual", ...own, crlFile: "/crl.pem" })).toEqual([]);
    expect(problems(clientTls, { ...simple, mode: "mutual", certificateFile: "/c.pem" })).toEqual([
      "privateKeyFile: required with mode mutual",
    ]);
    expect(problems(clientTls, { ...simple, ...own })).toHaveLength(2);
    expect(problems(clientTls, { ...simple, insecureSkipVerify: true, crlFile: "/x" })).toHaveLength(1);
  });
});

test("a file of the secrets folder is told from a path", () => {
  expect(secretOf(secretFile("shop", "web", "tls.crt"))).toEqual(["shop", "web", "tls.crt"]);
  expect(secretOf("/etc/secret:x/tls.crt")).toBeUndefined();
});
