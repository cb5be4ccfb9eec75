/** Self-signed certificates for tests, made with the project's own library: no program of the machine is needed. */
import "reflect-metadata";
import { writeFileSync } from "node:fs";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** Writes a key and a certificate that is its own authority. `names` become DNS subject alternative names. */
export async function writeCertificate(
  files: { readonly key: string; readonly certificate: string },
  commonName: string,
  names: readonly string[] = [],
): Promise<void> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: `CN=${commonName}`,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + 2 * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions:
      names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: "dns", value })))],
  });
  writeFileSync(files.key, x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY"));
  writeFileSync(files.certificate, certificate.toString("pem"));
}
