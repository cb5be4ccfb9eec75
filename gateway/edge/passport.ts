/** Passports of an edge site: the head of an attempt at a cluster's gateway, with one in it. */

import {
  importPassportKey,
  MAX_PASSPORT_CHARS,
  MAX_PASSPORT_TTL_S,
  PASSPORT_FIELD,
  type PassportKey,
  signPassport,
} from "../core/identity/index.ts";
import type { AttemptFailure, Established, RequestHead, UpstreamTarget } from "../core/index.ts";
import { fail, ok, type Result } from "../core/result.ts";

/** What passports of a site are made with. Holds a key: neither logged nor told. */
export interface PassportOffice {
  /** Name of the EdgeSite. */
  readonly site: string;
  readonly key: PassportKey;
  readonly unixMs: () => number;
  /** Never the same twice, and not to be guessed. */
  readonly newId: () => string;
}

/** Why an attempt cannot have a passport: for `Exchange.failed`, together with what the driver knows of the body. */
export type NoPassport = Omit<AttemptFailure, "replayable">;

/**
 * The site's key out of its binding, read once per isolate: a key is plain data, not bound to the request that read it. No promise is kept.
 *
 * @param text value of the binding PASSPORT_KEY; undefined: the site has none
 */
export async function passportKey(text: string | undefined): Promise<Result<PassportKey, NoPassport>> {
  if (text === undefined) return fail(noPassport("this site has no passport key: bind PASSPORT_KEY"));
  if (kept?.text === text) return ok(kept.key);
  const imported = await importPassportKey(text);
  if (!imported.ok) return fail(noPassport(imported.error.map(({ path, problem }) => `${path} ${problem}`).join("; ")));
  kept = { text, key: imported.value };
  return ok(imported.value);
}

let kept: { readonly text: string; readonly key: PassportKey } | undefined;

/**
 * The head to send in place of `send.head`, with this passport and no other. Every attempt needs one of its own, and so does every mirror: a passport is taken once.
 *
 * @param send a SendStep whose `target.via` is there, or a mirror of one
 * @param established of the SendStep
 * @param wireAuthority what the request will really name on its way: the URL's host for `fetch`; undefined where the head's own goes along (tunnel)
 */
export async function passportFor(
  send: { readonly target: UpstreamTarget; readonly head: RequestHead },
  established: Established | undefined,
  office: PassportOffice,
  wireAuthority?: string,
): Promise<Result<RequestHead, NoPassport>> {
  const { target, head } = send;
  const { via } = target;
  if (via === undefined || established === undefined) return fail(noPassport("the endpoint is no gateway of a cluster"));
  const issuedAt = Math.floor(office.unixMs() / 1000);
  const { clientAddress, charged, traceparent } = established;
  const token = await signPassport(
    {
      site: office.site,
      audience: via.cluster,
      issuedAt,
      expires: issuedAt + MAX_PASSPORT_TTL_S,
      id: office.newId(),
      method: head.method,
      authority: head.authority,
      target: head.target,
      destination: via.destination,
      clientAddress,
      charged,
      ...(wireAuthority === undefined || wireAuthority === head.authority ? {} : { wireAuthority }),
      ...(traceparent !== undefined && TRACEPARENT.test(traceparent) ? { traceparent } : {}),
    },
    office.key,
  );
  if (token.length > MAX_PASSPORT_CHARS) {
    const reason = `the passport would have ${token.length} characters, at most ${MAX_PASSPORT_CHARS} are taken: the target is too long`;
    return fail({ code: "uri_too_long", reason, neverSent: true });
  }
  const fields = head.fields.filter((_, i) => head.fields[i - (i % 2)] !== PASSPORT_FIELD);
  return ok({ ...head, fields: [...fields, PASSPORT_FIELD, token] });
}

/** W3C Trace Context 3.2, version 00. What reads otherwise is a field like any other, and no passport vouches for it. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

function noPassport(reason: string): NoPassport {
  return { code: "internal", reason, neverSent: true };
}
