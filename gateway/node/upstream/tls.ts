/** TLS towards origins: what to verify, and the context that verifies it. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { type ConnectionOptions, checkServerIdentity, createSecureContext, type PeerCertificate } from "node:tls";
import type { ClientTls } from "../../core/ir/index.ts";

/** Options for `tls.connect` shared by all connections to endpoints of one cluster. Throws what reading or parsing the CA file throws. */
export function originationOptions(tls: ClientTls, address: string): ConnectionOptions {
  const name = tls.serverName ?? (isIP(address) === 0 ? address : "");
  const ca = tls.caFile === undefined ? undefined : readFileSync(tls.caFile);
  return {
    ...(name === "" ? {} : { servername: name }),
    secureContext: createSecureContext({ minVersion: tls.minVersion, ...(ca === undefined ? {} : { ca }) }),
    rejectUnauthorized: !tls.insecureSkipVerify,
    ALPNProtocols: ["http/1.1"],
    checkServerIdentity: (host, certificate) =>
      tls.subjectAltNames.length === 0
        ? checkServerIdentity(name === "" ? address : host, certificate)
        : checkAltNames(tls.subjectAltNames, certificate),
  };
}

/** Istio's `subjectAltNames`: one of the certificate's names has to be one of these, whatever the host is called. */
export function checkAltNames(
  wanted: readonly string[],
  certificate: Pick<PeerCertificate, "subjectaltname">,
): Error | undefined {
  for (const entry of (certificate.subjectaltname ?? "").split(", ")) {
    const colon = entry.indexOf(":");
    if (colon !== -1 && wanted.includes(entry.slice(colon + 1))) return undefined;
  }
  return new Error(`none of the certificate's names is one of ${wanted.join(", ")}`);
}
