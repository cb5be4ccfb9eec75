/** Rules of a Gateway server that ends TLS: where its certificates come from, and what it asks of clients. */
import type { Finding } from "../kind.ts";
import type { GatewayServerTls } from "./gateway.ts";
import { CIPHER_SUITES } from "./tls.ts";

type At = readonly (string | number)[];

/** Modes that ask clients for a certificate. */
export function asksClients(mode: GatewayServerTls["mode"]): boolean {
  return mode === "MUTUAL" || mode === "OPTIONAL_MUTUAL";
}

/** For modes SIMPLE, MUTUAL and OPTIONAL_MUTUAL. */
export function checkTermination(tls: GatewayServerTls, at: At): Finding[] {
  return [
    ...checkCertificates(tls, at),
    ...checkCiphers(tls, at),
    ...(asksClients(tls.mode) ? checkClients(tls, at) : checkIgnored(tls, at)),
  ];
}

function checkCertificates(tls: GatewayServerTls, at: At): Finding[] {
  const inFiles = tls.serverCertificate !== undefined || tls.privateKey !== undefined;
  const sources = [inFiles, tls.credentialName !== undefined, tls.credentialNames.length > 0, tls.tlsCertificates.length > 0];
  const given = sources.filter((one) => one).length;
  if (given > 1) {
    const message = "certificate files, credentialName, credentialNames and tlsCertificates exclude one another; keep one";
    return [{ path: at, message }];
  }
  if (given === 1 && !inFiles) return [];
  return (["serverCertificate", "privateKey"] as const)
    .filter((field) => !tls[field])
    .map((field) => ({ path: at, message: `mode ${tls.mode} needs ${field}; write the path of a PEM file` }));
}

/** Unknown ones do not count, as in Istio; a list of nothing but unknown ones would leave the runtime's choice. */
function checkCiphers({ cipherSuites }: GatewayServerTls, at: At): Finding[] {
  const unknown = cipherSuites.filter((name) => !CIPHER_SUITES.includes(name));
  const all = unknown.length > 0 && unknown.length === cipherSuites.length;
  return unknown.map((name) => ({
    path: [...at, "cipherSuites", cipherSuites.indexOf(name)],
    message: `"${name}" is no cipher suite that can be asked for${all ? "" : ", and is left out"}; known are ${CIPHER_SUITES.join(", ")}`,
    severity: all ? "error" : "warning",
  }));
}

function checkClients(tls: GatewayServerTls, at: At): Finding[] {
  const found: Finding[] = [];
  const authorities = authoritiesOf(tls);
  const inSecret = tls.caCertCredentialName !== undefined || tls.credentialName !== undefined || tls.credentialNames.length > 0;
  if (authorities.length > 1)
    found.push({ path: [...at, "tlsCertificates"], message: "caCertificates differ; a server has one set of authorities" });
  if (!tls.insecureSkipVerify) {
    if (authorities.length === 0 && !inSecret) {
      const message = `mode ${tls.mode} needs caCertificates; write the path of a PEM file with the clients' authorities`;
      found.push({ path: at, message });
    }
    return found;
  }
  if (authorities.length > 0 || tls.caCertCredentialName !== undefined || tls.caCrl !== undefined) {
    const message = "insecureSkipVerify makes caCertificates, caCertCredentialName and caCrl meaningless; remove it or them";
    found.push({ path: [...at, "insecureSkipVerify"], message });
  } else if (tls.verifyCertificateHash.length + tls.verifyCertificateSpki.length === 0) {
    const message =
      "any certificate passes, so it says nothing about who the client is; pin certificates in verifyCertificateHash or verifyCertificateSpki, or name their authority in caCertificates";
    found.push({ path: [...at, "insecureSkipVerify"], message, severity: "warning" });
  }
  return found;
}

/** Files of authorities, each once: of the server, and beside its certificates. */
export function authoritiesOf({ caCertificates, tlsCertificates }: GatewayServerTls): readonly string[] {
  const named = [caCertificates, ...tlsCertificates.map((one) => one.caCertificates)];
  return [...new Set(named.filter((path) => path !== undefined && path !== ""))].filter((path) => path !== undefined);
}

function checkIgnored(tls: GatewayServerTls, at: At): Finding[] {
  const lists = ["subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash"] as const;
  const ignored = [
    ...(["caCertificates", "caCrl", "caCertCredentialName"] as const).filter((field) => tls[field] !== undefined),
    ...lists.filter((field) => tls[field].length > 0),
    ...(tls.insecureSkipVerify ? ["insecureSkipVerify"] : []),
  ];
  return ignored.map((field) => ({
    path: [...at, field],
    message: `${field} is about clients' certificates, which mode SIMPLE does not ask for; use MUTUAL, or remove it`,
    severity: "warning",
  }));
}
