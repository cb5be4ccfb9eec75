/** Proxy-Authorization (RFC 9110 11.7.2) with the Basic scheme (RFC 7617). */
import type { FieldList } from "../http/message.ts";

export type PresentedCredentials =
  | { readonly kind: "absent" }
  /** Not one well-formed Basic credential. */
  | { readonly kind: "malformed" }
  | { readonly kind: "basic"; readonly user: string; readonly password: string };

/** Longest user and password together, in bytes of their Base64 form. */
export const MAX_CREDENTIAL_LENGTH = 1_024;

const ABSENT: PresentedCredentials = { kind: "absent" };
const MALFORMED: PresentedCredentials = { kind: "malformed" };

/** Reads the credentials and takes the field out of the list, so that no log, no metric and no origin ever sees it. */
export function takeCredentials(fields: FieldList): PresentedCredentials {
  let found: PresentedCredentials = ABSENT;
  for (let i = 0; i < fields.length; ) {
    if (fields[i] !== "proxy-authorization") {
      i += 2;
      continue;
    }
    const [, value] = fields.splice(i, 2);
    found = found === ABSENT ? readBasic(value ?? "") : MALFORMED;
  }
  return found;
}

function readBasic(value: string): PresentedCredentials {
  const match = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(value);
  const encoded = match?.[1];
  if (encoded === undefined || encoded.length > MAX_CREDENTIAL_LENGTH || encoded.length % 4 !== 0) return MALFORMED;
  const text = decodeUtf8(atob(encoded));
  const colon = text?.indexOf(":") ?? -1;
  if (text === undefined || colon < 1) return MALFORMED;
  return { kind: "basic", user: text.slice(0, colon), password: text.slice(colon + 1) };
}

function decodeUtf8(binary: string): string | undefined {
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
