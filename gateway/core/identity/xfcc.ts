/**
 * X-Forwarded-Client-Cert: what a proxy tells the origin about the certificate of its client. One element a hop, commas between; of an element the
 * pairs, semicolons between; a value with a comma, semicolon, equals sign or quote stands in quotes, and its own quotes behind a backslash.
 *
 * A client's own field is nobody's word: by default it never travels on.
 */
import type { ForwardClientCert } from "../ir/settings.ts";
import { unreachable } from "../result.ts";
import type { AltName } from "./san.ts";

export const XFCC_FIELD = "x-forwarded-client-cert";

/** A client's certificate that has passed: its chain, or a pin. */
export interface PeerCertificate {
  /** RFC 4514. */
  readonly subject: string;
  readonly names: readonly AltName[];
  /** SHA-256 of the whole, lower case hex. */
  readonly hash: string;
  /** PEM, leaf first; more than the leaf only where the runtime has kept it. */
  pem(): readonly string[];
}

/** Longest field that is read or written, characters: a hop too many would not fit either. */
export const MAX_XFCC_CHARS = 16 * 1024;

/** @param received the field's lines, joined. @returns the field to send; undefined: none */
export function forwardedClientCert(
  received: string | undefined,
  certificate: PeerCertificate | undefined,
  forwarding: ForwardClientCert = DEFAULT_FORWARDING,
): string | undefined {
  switch (forwarding.mode) {
    case "sanitize":
      return undefined;
    case "always-forward-only":
      return received;
    case "forward-only":
      return certificate === undefined ? undefined : received;
    case "sanitize-set":
      return certificate === undefined ? undefined : elementOf(certificate, forwarding);
    case "append-forward": {
      if (certificate === undefined) return undefined;
      const own = elementOf(certificate, forwarding);
      // A quote left open would take what comes after it, our own word, into itself.
      return received === undefined || !isWellFormedXfcc(received) ? own : `${received},${own}`;
    }
    default:
      return unreachable(forwarding.mode);
  }
}

const DEFAULT_FORWARDING: ForwardClientCert = { mode: "sanitize-set" };

/** Made once for a connection. */
const elements = new WeakMap<PeerCertificate, { readonly forwarding: ForwardClientCert; readonly text: string }>();

function elementOf(certificate: PeerCertificate, forwarding: ForwardClientCert): string {
  const known = elements.get(certificate);
  if (known?.forwarding === forwarding) return known.text;
  const text = xfccElement(certificate, forwarding);
  elements.set(certificate, { forwarding, text });
  return text;
}

/** What this hop says of its client. */
export function xfccElement(certificate: PeerCertificate, { cert, chain }: Omit<ForwardClientCert, "mode"> = {}): string {
  const pairs = [`Hash=${certificate.hash}`];
  const pem = cert || chain ? certificate.pem() : [];
  if (cert) pairs.push(`Cert="${encodeURIComponent(pem[0] ?? "")}"`);
  if (chain) pairs.push(`Chain="${encodeURIComponent(pem.join(""))}"`);
  pairs.push(`Subject=${quoted(certificate.subject)}`);
  for (const { type, value } of certificate.names) {
    // Other characters are in no URI or host name, and would be read differently by different readers.
    if (!VISIBLE.test(value)) continue;
    if (type === "uri") pairs.push(`URI=${quotedIfNeeded(value)}`);
    if (type === "dns") pairs.push(`DNS=${quotedIfNeeded(value)}`);
  }
  return pairs.join(";");
}

const VISIBLE = /^[\x21-\x7e]+$/;

/** In quotes; what a field cannot carry (RFC 9110 5.5) is left out of it as a question mark. */
function quoted(value: string): string {
  return `"${value.replaceAll(/[^\x20-\x7e]/g, "?").replaceAll(/["\\]/g, "\\$&")}"`;
}

function quotedIfNeeded(value: string): string {
  return /[,;="\\]/.test(value) ? quoted(value) : value;
}

/** Elements of `key=value` pairs, with every quote closed. */
export function isWellFormedXfcc(text: string): boolean {
  return text.length <= MAX_XFCC_CHARS && WELL_FORMED.test(text);
}

const PAIR = String.raw`[A-Za-z]+=(?:"(?:[^"\\]|\\.)*"|[^,;="\s]*)`;
const WELL_FORMED = new RegExp(`^${PAIR}(?:;${PAIR})*(?:, ?${PAIR}(?:;${PAIR})*)*$`);
