/** SPIFFE ids (SPIFFE-ID section 2): `spiffe://<trust domain>/<path>`, in their one spelling and nothing near it. */
import type { AltName } from "./san.ts";

export interface SpiffeId {
  readonly trustDomain: string;
  /** Segments, without what stands between them. */
  readonly path: readonly string[];
}

/** SPIFFE-ID 2.3. */
export const MAX_SPIFFE_ID_CHARS = 2_048;
/** SPIFFE-ID 2.1. */
export const MAX_TRUST_DOMAIN_CHARS = 255;

/** Undefined: it is none. No upper case in the domain, no port, no query, no percent signs, no empty or dot segments, no slash at the end. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  const scheme = "spiffe://";
  if (text.length > MAX_SPIFFE_ID_CHARS || !text.startsWith(scheme)) return undefined;
  const [trustDomain = "", ...path] = text.slice(scheme.length).split("/");
  if (trustDomain.length > MAX_TRUST_DOMAIN_CHARS || !/^[a-z0-9._-]+$/.test(trustDomain)) return undefined;
  if (!path.every((segment) => /^[A-Za-z0-9._-]+$/.test(segment) && segment !== "." && segment !== "..")) return undefined;
  return { trustDomain, path };
}

/**
 * The SPIFFE id of a certificate. X509-SVID 2: exactly one URI; a certificate with two would be whoever the reader looks for. An id without a path
 * is a trust domain's, which nobody comes as.
 */
export function principalOf(names: readonly AltName[]): string | undefined {
  const uris = names.filter(({ type }) => type === "uri");
  const [only] = uris;
  if (only === undefined || uris.length > 1) return undefined;
  const id = parseSpiffeId(only.value);
  return id === undefined || id.path.length === 0 ? undefined : only.value;
}
