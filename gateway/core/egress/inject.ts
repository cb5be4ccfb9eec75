/** Credentials that a rule adds to requests. A snapshot only names them: each gateway holds its own, and reads them for one request at a time. */
import type { FieldList, ReadonlyFieldList } from "../http/message.ts";
import { fail, ok, type Result } from "../result.ts";
import type { EgressAllow } from "./decide.ts";
import type { Secrets } from "./ports.ts";
import { echoed, type Refusal, secretUnusable } from "./refusal.ts";

/** Longest secret, in characters. */
export const MAX_SECRET_LENGTH = 8_192;

/** RFC 9110 5.5, ASCII only, without white space around it. */
const FIELD_VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;
/** The fields to send, or why not: without its credential a request is not what its rule allows. */
export function readInjections(
  { inject, rule }: Pick<EgressAllow, "inject" | "rule">,
  method: string,
  secrets: Secrets,
): Result<ReadonlyFieldList, Refusal> {
  if (inject.length === 0) return NONE;
  // RFC 9110 9.3.8: its answer is the request as the host got it. Some hosts read methods in any case.
  if (method.toUpperCase() === "TRACE") return fail(echoed(rule));
  const fields: FieldList = [];
  for (const { header, prefix, secret } of inject) {
    const value = secrets.value(secret.namespace, secret.name, secret.key);
    if (value === undefined) return fail(secretUnusable(secret, "is missing at this gateway", rule));
    if (value.length > MAX_SECRET_LENGTH || value !== value.trim() || !FIELD_VALUE.test(`${prefix}${value}`)) {
      return fail(secretUnusable(secret, "cannot stand in a header field", rule));
    }
    fields.push(header, `${prefix}${value}`);
  }
  return ok(fields);
}

const NONE = ok<ReadonlyFieldList>([]);

/** Puts `injected` in place of whatever stands under its names. */
export function inject(fields: FieldList, injected: ReadonlyFieldList): FieldList {
  if (injected.length === 0) return fields;
  const names = new Set(injected.filter((_, i) => i % 2 === 0));
  const all: FieldList = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (!names.has(name)) all.push(name, fields[i + 1] ?? "");
  }
  all.push(...injected);
  return all;
}
