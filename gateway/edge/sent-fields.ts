/** The field lines of a request as they are sent to an origin. */
import type { ReadonlyFieldList } from "../core/index.ts";
import { changeFields, type FieldsInit, fieldsInit } from "./fields.ts";
import type { EdgeRequest } from "./request-head.ts";

/**
 * The fields of a request as they are sent. Without Expect, for the platform has given the go-ahead itself (RFC 9110 10.1.1), and without TE, for `fetch` has
 * no trailer fields to pass on (6.5.1).
 */
export function sentInit(fields: ReadonlyFieldList): FieldsInit {
  for (let i = 0; i < fields.length; i += 2) {
    if (isNotSent(fields[i] as string)) return fieldsInit(fields.filter((_, at) => !isNotSent(fields[at - (at % 2)] as string)));
  }
  return fieldsInit(fields);
}

export function isNotSent(name: string): boolean {
  return name === "expect" || name === "te";
}

/** So few are sent one by one: a copy costs the runtime a list of its own, and what the gateway adds is sent one by one anyway. */
const FEW_LINES = 3;

/**
 * The same as `sentInit`, made by changing a copy of what came: the runtime copies many lines for less than it takes two or three of them one by one, and most
 * of a request's go on as they are.
 *
 * @param headers the request's own
 */
export function changedInit(
  headers: Headers,
  { read, unread }: Pick<EdgeRequest, "read" | "unread">,
  sent: ReadonlyFieldList,
): FieldsInit {
  if (read.length <= FEW_LINES * 2) return sentInit(sent);
  const copy = new Headers(headers);
  for (const name of unread) copy.delete(name);
  changeFields(copy, read, sent);
  for (let i = 0; i < sent.length; i += 2) if (isNotSent(sent[i] as string)) copy.delete(sent[i] as string);
  return copy;
}
