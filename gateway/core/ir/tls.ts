/** TLS on both sides of a gateway. Key material stays on the gateway's machine: a snapshot only names it. */

/**
 * PEM on the gateway's machine: the path of a file, or `secret:<namespace>/<name>/<key>` for the file `<namespace>/<name>/<key>` in the
 * gateway's secrets folder.
 */
export type PemFile = string;

const SECRET_SCHEME = "secret:";

export function secretFile(namespace: string, name: string, key: string): PemFile {
  return `${SECRET_SCHEME}${namespace}/${name}/${key}`;
}

/** Namespace, name and key of a file in the secrets folder; undefined: it is a path. */
export function secretOf(file: PemFile): readonly string[] | undefined {
  return file.startsWith(SECRET_SCHEME) ? file.slice(SECRET_SCHEME.length).split("/") : undefined;
}

export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** TLS that ends here. */
export type TerminatedTls = SimpleTls | MutualTls | OptionalMutualTls;

/** Nobody is asked for a certificate. */
export interface SimpleTls extends ServerCertificates {
  readonly mode: "simple";
}

/** A client without a certificate that passes is refused. */
export interface MutualTls extends ServerCertificates {
  readonly mode: "mutual";
  readonly client: ClientCertificateRules;
}

/** A client may come without a certificate; one that has one has to pass. */
export interface OptionalMutualTls extends ServerCertificates {
  readonly mode: "optional-mutual";
  readonly client: ClientCertificateRules;
}

export interface ServerCertificates {
  /** The chain, leaf first. */
  readonly certificateFile: PemFile;
  readonly privateKeyFile: PemFile;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** OpenSSL names; empty: the runtime's defaults. TLS 1.3 has suites of its own, which no list changes. */
  readonly cipherSuites: readonly string[];
  /** For the same names with keys of other types (RSA beside ECDSA): a client gets one that it can check. Absent: none. */
  readonly otherCertificates?: readonly CertificateFiles[];
}

export interface CertificateFiles {
  readonly certificateFile: PemFile;
  readonly privateKeyFile: PemFile;
}

/** What a client's certificate has to be like. All that is given has to hold; of the two lists of pins together one entry. */
export interface ClientCertificateRules {
  /** Authorities that its chain may end at. Absent: the chain is not checked, and `insecureSkipVerify` says so. */
  readonly caFile?: PemFile;
  /** Revoked certificates, of every authority in the chain. One in a secret may be missing: nothing is revoked then. */
  readonly crlFile?: PemFile;
  /** One of the certificate's names has to be one of these, whole. Empty: any. */
  readonly subjectAltNames: readonly string[];
  /** SHA-256 of its public key (SubjectPublicKeyInfo), base64. */
  readonly spkiPins: readonly string[];
  /** SHA-256 of the certificate, lower case hex. */
  readonly hashPins: readonly string[];
  /** The chain is not checked. Names and pins are. */
  readonly insecureSkipVerify: boolean;
}

/** TLS towards an origin. */
export interface ClientTls {
  /** `mutual`: with a certificate of our own. */
  readonly mode: "simple" | "mutual";
  /** Undefined: the endpoint's host name. */
  readonly serverName?: string;
  /** One of the certificate's names has to be one of these, whole. Empty: it has to be for `serverName`. */
  readonly subjectAltNames: readonly string[];
  /** Absent: the system's authorities. */
  readonly caFile?: PemFile;
  readonly minVersion: TlsVersion;
  readonly insecureSkipVerify: boolean;
  /** Ours; with `mutual` only. The chain, leaf first. */
  readonly certificateFile?: PemFile;
  readonly privateKeyFile?: PemFile;
  /** Revoked certificates, of every authority in the chain. One in a secret may be missing. */
  readonly crlFile?: PemFile;
}
