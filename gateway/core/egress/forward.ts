/** What of a message goes on to the next hop (RFC 9110 7.6.1): fields meant for this hop stay here. */
import { isHopByHop, isOwnField } from "../http/hop-by-hop.ts";
import type { FieldList, ReadonlyFieldList } from "../http/message.ts";

/** Request fields for the origin, with Via as a proxy has to add it (RFC 9110 7.6.3). `Host` is written from the authority that was judged. */
export function requestFields(fields: ReadonlyFieldList, connectionOptions: readonly string[] | undefined): FieldList {
  const kept = endToEnd(fields, connectionOptions, isNotForOrigins);
  kept.push("via", "1.1 tidegate");
  return kept;
}

export function responseFields(fields: ReadonlyFieldList): FieldList {
  return endToEnd(fields, optionsOf(fields), isNotForClients);
}

/** The go-ahead for `Expect` is given here (RFC 9110 10.1.1). */
function isNotForOrigins(name: string): boolean {
  return name === "expect" || isOwnField(name);
}

/** RFC 9110 11.7.4: this one too is for the next hop only. */
function isNotForClients(name: string): boolean {
  return name === "proxy-authentication-info" || isOwnField(name);
}

function optionsOf(fields: ReadonlyFieldList): readonly string[] | undefined {
  let options: string[] | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== "connection") continue;
    options ??= [];
    for (const option of (fields[i + 1] ?? "").split(",")) options.push(option.trim().toLowerCase());
  }
  return options;
}

function endToEnd(
  fields: ReadonlyFieldList,
  options: readonly string[] | undefined,
  dropped: (name: string) => boolean,
): FieldList {
  const kept: FieldList = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (isHopByHop(name) || options?.includes(name) || dropped(name)) continue;
    kept.push(name, fields[i + 1] ?? "");
  }
  return kept;
}
