/** TLS of Gateway servers and DestinationRules → IR: files by path, secrets as files in the gateway's secrets folder. */
import {
  type CertificateFiles,
  type ClientCertificateRules,
  type ClientTls,
  type PemFile,
  type ServerTls,
  secretFile,
  type TlsVersion,
} from "../../gateway/core/ir/index.ts";
import {
  asksClients,
  authoritiesOf,
  CIPHER_SUITES,
  type ClientTlsSettings,
  type GatewayServerTls,
  parseSecretName,
} from "../config/index.ts";

/** Keys of a secret, as Kubernetes and Istio name them. */
const KEY = { certificate: "tls.crt", privateKey: "tls.key", authorities: "ca.crt", revoked: "ca.crl" } as const;

/** A field with the name of a secret that cannot be used, and why. */
export interface UnusableSecret {
  /** Below `tls`. */
  readonly field: string;
  readonly message: string;
}

/** The first secret that a server in `namespace` may not have. */
export function unusableSecret(tls: GatewayServerTls, namespace: string): UnusableSecret | undefined {
  const named: readonly (readonly [string, string | undefined])[] = [
    ["credentialName", tls.credentialName],
    ...tls.credentialNames.map((name, index) => [`credentialNames[${index}]`, name] as const),
    ["caCertCredentialName", tls.caCertCredentialName],
  ];
  for (const [field, name] of named) {
    const why = name === undefined ? undefined : whyNotUsable(name, namespace);
    if (why !== undefined) return { field, message: why };
  }
  return undefined;
}

/** A secret is for objects of its own namespace: what would let another one in, a ReferenceGrant, nobody can write yet. */
export function whyNotUsable(text: string, namespace: string): string | undefined {
  const secret = parseSecretName(text);
  if (secret === undefined) return `"${text}" is no name of a secret; write the name of one in namespace ${namespace}`;
  if (secret.namespace === undefined || secret.namespace === namespace) return undefined;
  return `the secret ${text} is in another namespace, which is not supported; put it into ${namespace}`;
}

/** In a namespace, for a name that `whyNotUsable` has nothing against. */
function inSecret(namespace: string, text: string, key: keyof typeof KEY): PemFile {
  return secretFile(namespace, parseSecretName(text)?.name ?? text, KEY[key]);
}

function pairInSecret(namespace: string, name: string): CertificateFiles {
  return {
    certificateFile: inSecret(namespace, name, "certificate"),
    privateKeyFile: inSecret(namespace, name, "privateKey"),
  };
}

/** A server that ends TLS, of a Gateway in `namespace`. */
export function serverTls(tls: GatewayServerTls, namespace: string): ServerTls {
  const [first = { certificateFile: "", privateKeyFile: "" }, ...others] = certificatesOf(tls, namespace);
  const base = {
    ...first,
    minVersion: tlsVersion(tls.minProtocolVersion, "TLSv1.2"),
    maxVersion: tlsVersion(tls.maxProtocolVersion, "TLSv1.3"),
    cipherSuites: tls.cipherSuites.filter((name) => CIPHER_SUITES.includes(name)),
    ...(others.length === 0 ? {} : { otherCertificates: others }),
  };
  if (!asksClients(tls.mode)) return { mode: "simple", ...base };
  return { mode: tls.mode === "MUTUAL" ? "mutual" : "optional-mutual", ...base, client: clientRules(tls, namespace) };
}

function certificatesOf(tls: GatewayServerTls, namespace: string): readonly CertificateFiles[] {
  if (tls.serverCertificate !== undefined)
    return [{ certificateFile: tls.serverCertificate, privateKeyFile: tls.privateKey ?? "" }];
  if (tls.tlsCertificates.length > 0)
    return tls.tlsCertificates.map(({ serverCertificate, privateKey }) => ({
      certificateFile: serverCertificate,
      privateKeyFile: privateKey,
    }));
  return secretsOf(tls).map((name) => pairInSecret(namespace, name));
}

function secretsOf({ credentialName, credentialNames }: GatewayServerTls): readonly string[] {
  return credentialName === undefined ? credentialNames : [credentialName];
}

function clientRules(tls: GatewayServerTls, namespace: string): ClientCertificateRules {
  const rules = {
    subjectAltNames: tls.subjectAltNames,
    spkiPins: tls.verifyCertificateSpki,
    hashPins: tls.verifyCertificateHash,
    insecureSkipVerify: tls.insecureSkipVerify,
  };
  if (tls.insecureSkipVerify) return rules;
  const secret = tls.caCertCredentialName ?? secretsOf(tls)[0];
  const [authorities = secret && inSecret(namespace, secret, "authorities")] = authoritiesOf(tls);
  // Lists of the secret belong to the authorities of the secret.
  const revoked = tls.caCrl ?? (authoritiesOf(tls).length === 0 ? secret && inSecret(namespace, secret, "revoked") : undefined);
  return {
    ...(authorities === undefined ? {} : { caFile: authorities }),
    ...(revoked === undefined ? {} : { crlFile: revoked }),
    ...rules,
  };
}

/** RFC 8996 retired TLS 1.0 and 1.1: whoever asks for them gets 1.2. */
function tlsVersion(version: GatewayServerTls["minProtocolVersion"], automatic: TlsVersion): TlsVersion {
  if (version === "TLS_AUTO") return automatic;
  return version === "TLSV1_3" ? "TLSv1.3" : "TLSv1.2";
}

/** TLS towards a service, by a rule in `namespace`. `host`: where SNI and the certificate's name come from when the rule does not say. */
export function clientTls(tls: ClientTlsSettings, namespace: string, host: string | undefined): ClientTls {
  const serverName = tls.sni ?? host;
  const secret = tls.credentialName;
  const own =
    secret === undefined
      ? { certificateFile: tls.clientCertificate ?? "", privateKeyFile: tls.privateKey ?? "" }
      : pairInSecret(namespace, secret);
  const caFile = tls.caCertificates ?? (secret && inSecret(namespace, secret, "authorities"));
  const crlFile = tls.caCrl ?? (secret && inSecret(namespace, secret, "revoked"));
  return {
    mode: tls.mode === "MUTUAL" ? "mutual" : "simple",
    ...(serverName === undefined ? {} : { serverName }),
    subjectAltNames: tls.subjectAltNames,
    ...(caFile === undefined || tls.insecureSkipVerify ? {} : { caFile }),
    minVersion: "TLSv1.2",
    insecureSkipVerify: tls.insecureSkipVerify,
    ...(tls.mode === "MUTUAL" ? own : {}),
    ...(crlFile === undefined || tls.insecureSkipVerify ? {} : { crlFile }),
  };
}
