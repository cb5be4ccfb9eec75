/** Judges the certificate that a client has shown, after the handshake has proven that the client has its key. */
import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { hasAltName, type PeerCertificate, parseAltNames, principalOf } from "../core/identity/index.ts";
import type { ClientCertificateRules, MutualTls, OptionalMutualTls } from "../core/ir/index.ts";

export interface ClientFacts {
  readonly certificate: PeerCertificate;
  readonly principal?: string;
}

/** `who` is undefined: the client has proven nothing, and need not. */
export type ClientVerdict =
  | { readonly kind: "allow"; readonly who: ClientFacts | undefined }
  | { readonly kind: "deny"; readonly reason: string };

const NOBODY: ClientVerdict = { kind: "allow", who: undefined };

/** What is known of a client: `authorized` is the library's verdict about the chain. */
export interface ShownByClient {
  readonly certificate: X509Certificate | undefined;
  readonly authorized: boolean;
  readonly problem: string | undefined;
}

export function shownBy(socket: TLSSocket): ShownByClient {
  const problem: unknown = socket.authorizationError;
  return {
    certificate: socket.getPeerX509Certificate(),
    authorized: socket.authorized,
    // Typed as an error, and a code.
    problem: problem === null || problem === undefined ? undefined : String(problem),
  };
}

/** A session that is resumed brings the certificate of its first handshake: whether it is still valid is looked at each time. */
export function judgeClient(tls: MutualTls | OptionalMutualTls, shown: ShownByClient, unixMs: number): ClientVerdict {
  const { certificate } = shown;
  if (certificate === undefined) return tls.mode === "mutual" ? deny("the client has shown no certificate") : NOBODY;
  const { client } = tls;
  if (!client.insecureSkipVerify) {
    if (!shown.authorized) return deny(`the client's certificate does not verify: ${shown.problem ?? "unknown reason"}`);
    if (unixMs < certificate.validFromDate.getTime() || unixMs > certificate.validToDate.getTime())
      return deny("the client's certificate has expired");
  }
  const names = parseAltNames(certificate.subjectAltName ?? "");
  if (names === undefined) return deny("the names in the client's certificate cannot be read");
  if (client.subjectAltNames.length > 0 && !hasAltName(names, client.subjectAltNames))
    return deny("the client's certificate has none of the names that may come");
  const hash = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
  const pinned = isPinned(client, certificate, hash);
  if (pinned === false) return deny("the client's certificate is none of those pinned");
  // A chain that nobody has checked says nothing about who the client is; a pin does.
  if (client.insecureSkipVerify && pinned === undefined) return NOBODY;
  const principal = principalOf(names);
  const facts: PeerCertificate = {
    subject: rfc4514(certificate.subject),
    names,
    hash,
    pem: () => pemChain(certificate),
  };
  return { kind: "allow", who: principal === undefined ? { certificate: facts } : { certificate: facts, principal } };
}

/** Undefined: there are no pins. */
function isPinned(
  { spkiPins, hashPins }: ClientCertificateRules,
  certificate: X509Certificate,
  hash: string,
): boolean | undefined {
  if (spkiPins.length + hashPins.length === 0) return undefined;
  if (hashPins.includes(hash)) return true;
  return spkiPins.length > 0 && spkiPins.includes(spkiPinOf(certificate));
}

/** SHA-256 of the SubjectPublicKeyInfo, base64. */
export function spkiPinOf(certificate: X509Certificate): string {
  return createHash("sha256")
    .update(certificate.publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}

/** The library has one line a part, most general first, with special characters escaped as RFC 4514 2.4 wants them. */
function rfc4514(subject: string | undefined): string {
  return (subject ?? "").split("\n").reverse().join(",");
}

/** Longest chain that is told. */
const MAX_CHAIN = 10;

function pemChain(leaf: X509Certificate): readonly string[] {
  const chain: string[] = [];
  for (let at: X509Certificate | undefined = leaf; at !== undefined && chain.length < MAX_CHAIN; at = at.issuerCertificate)
    chain.push(at.toString());
  return chain;
}

function deny(reason: string): ClientVerdict {
  return { kind: "deny", reason };
}
