/** A certificate authority for tests, made with the project's own library: no program of the machine is needed. */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const RSA = {
  name: "RSASSA-PKCS1-v1_5",
  hash: "SHA-256",
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 2048,
} as const;
const DAY_MS = 86_400_000;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

export interface IssueOptions {
  readonly commonName?: string;
  readonly names?: readonly { readonly type: "dns" | "url" | "ip" | "email"; readonly value: string }[];
  readonly use?: "server" | "client" | "any";
  readonly key?: "ecdsa" | "rsa";
  /** From now; the first may be negative. Default: from a day ago for two days. */
  readonly days?: readonly [from: number, until: number];
}

interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

/** As PEM. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
  readonly serial: string;
}

export class TestAuthority {
  /** Its own certificate, PEM. */
  readonly certificate: string;
  readonly #keys: KeyPair;
  readonly #name: string;
  #serial = 1;

  private constructor(name: string, keys: KeyPair, certificate: string) {
    this.#name = name;
    this.#keys = keys;
    this.certificate = certificate;
  }

  static async create(commonName = "test authority"): Promise<TestAuthority> {
    const keys = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
    const name = `CN=${commonName}`;
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: "01",
      name,
      ...validity([-1, 30]),
      signingAlgorithm: EC,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new TestAuthority(name, keys, certificate.toString("pem"));
  }

  async issue({
    commonName = "leaf",
    names = [],
    use = "any",
    key = "ecdsa",
    days = [-1, 2],
  }: IssueOptions = {}): Promise<Issued> {
    const keys = await crypto.subtle.generateKey(key === "ecdsa" ? EC : RSA, true, ["sign", "verify"]);
    const serial = (0x10 + this.#serial++).toString(16);
    const usages = [...(use === "client" ? [] : [SERVER_AUTH]), ...(use === "server" ? [] : [CLIENT_AUTH])];
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject: `CN=${commonName}, O=Shop`,
      issuer: this.#name,
      ...validity(days),
      signingAlgorithm: EC,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.ExtendedKeyUsageExtension(usages),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
      ],
    });
    const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    return { certificate: certificate.toString("pem"), key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"), serial };
  }

  /** A revocation list with these serial numbers, PEM. */
  async revoke(serials: readonly string[]): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#name,
      thisUpdate: new Date(Date.now() - DAY_MS),
      nextUpdate: new Date(Date.now() + DAY_MS),
      signingAlgorithm: EC,
      signingKey: this.#keys.privateKey,
      entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date(Date.now() - 1000) })),
    });
    // RFC 7468 5: the library writes another label.
    return list.toString("pem").replaceAll(/(BEGIN|END) CRL/g, "$1 X509 CRL");
  }
}

function validity([from, until]: readonly [number, number]): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(Date.now() + from * DAY_MS), notAfter: new Date(Date.now() + until * DAY_MS) };
}
