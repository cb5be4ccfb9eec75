import "reflect-metadata";
import { generateKeyPairSync } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { beforeAll, expect, test } from "vitest";
import type { FileReader } from "./files.ts";
import { object, told, validate } from "./test-objects.ts";

const disk = new Map<string, string>();
const files: FileReader = {
  read: (path) => {
    const text = disk.get(path);
    return text === undefined ? { ok: false, reason: "it does not exist" } : { ok: true, text };
  },
};

beforeAll(async () => {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=edge",
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  disk.set("cert.pem", certificate.toString("pem"));
  disk.set("key.pem", `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`);
  disk.set(
    "other.pem",
    generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  );
  disk.set("text.pem", "very secret text");
});

const gateway = (certificate: string, key: string) =>
  object(
    "Gateway",
    `{ servers: [{ port: { number: 443, protocol: HTTPS }, hosts: ["*"], tls: { mode: SIMPLE, serverCertificate: ${certificate}, privateKey: ${key} } }] }`,
  );

test.each([
  ["cert.pem", "key.pem", []],
  [
    "cert.pem",
    "other.pem",
    ["the key in other.pem does not belong to the first certificate in cert.pem; the leaf must come first"],
  ],
  [
    "gone.pem",
    "text.pem",
    ["the file gone.pem cannot be read: it does not exist", "the file text.pem is not an unencrypted PEM private key"],
  ],
  ["text.pem", "key.pem", ["the file text.pem is not a PEM certificate"]],
])("certificate %s with key %s", (certificate, key, expected) => {
  const found = told(validate(gateway(certificate, key), { files }));
  expect(
    found.map((line) => line.replace(/^error a\.yaml:4:\d+: Gateway default\/x: spec\.servers\[0\]\.tls\.\w+: /, "")),
  ).toEqual(expected);
});

test("authorities of client TLS, at the top, per port and per subset", () => {
  const tls = (file: string) => `tls: { mode: SIMPLE, caCertificates: ${file} }`;
  const spec = `{ host: a, trafficPolicy: { ${tls("cert.pem")}, portLevelSettings: [{ port: { number: 1 }, ${tls("no.pem")} }] }, subsets: [{ name: s, trafficPolicy: { ${tls("text.pem")} } }] }`;
  expect(told(validate(object("DestinationRule", spec), { files })).map((line) => line.replace(/^.*?x: /, ""))).toEqual([
    "spec.trafficPolicy.portLevelSettings[0].tls.caCertificates: the file no.pem cannot be read: it does not exist",
    "spec.subsets[0].trafficPolicy.tls.caCertificates: the file text.pem is not a PEM certificate",
  ]);
});

test("what clients' certificates are held against, and certificates of our own", () => {
  const server = `{ port: { number: 443, protocol: HTTPS }, hosts: ["*"], tls: { mode: MUTUAL, caCertificates: text.pem, caCrl: cert.pem, tlsCertificates: [{ serverCertificate: cert.pem, privateKey: key.pem }, { serverCertificate: cert.pem, privateKey: other.pem, caCertificates: text.pem }] } }`;
  const tls = "{ mode: MUTUAL, clientCertificate: cert.pem, privateKey: gone.pem, caCrl: text.pem }";
  const lines = [
    ...validateAll("Gateway", `{ servers: [${server}] }`),
    ...validateAll("DestinationRule", `{ host: a, trafficPolicy: { tls: ${tls} } }`),
  ];
  expect(lines).toEqual([
    "spec.servers[0].tls.caCertificates: the file text.pem is not a PEM certificate",
    "spec.servers[0].tls.caCrl: the file cert.pem is not a PEM revocation list",
    "spec.servers[0].tls.tlsCertificates[1].privateKey: the key in other.pem does not belong to the first certificate in cert.pem; the leaf must come first",
    "spec.servers[0].tls.tlsCertificates[1].caCertificates: the file text.pem is not a PEM certificate",
    "spec.trafficPolicy.tls.privateKey: the file gone.pem cannot be read: it does not exist",
    "spec.trafficPolicy.tls.caCrl: the file text.pem is not a PEM revocation list",
  ]);
});

function validateAll(kind: string, spec: string): readonly string[] {
  return told(validate(object(kind, spec), { files })).map((line) => line.replace(/^.*?x: /, ""));
}
