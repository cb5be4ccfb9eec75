/** Max-Forwards (RFC 9110 7.6.2): how many more hops a TRACE or OPTIONS may take. For other methods it means nothing and goes on as it came. */
import type { FieldList } from "./message.ts";

/** The largest count that is sent on; a larger one becomes this. */
export const MAX_FORWARDS = 0x7fff_ffff;

/** `last`: the request goes no further than here. `malformed`: not one number. */
export type Forwarding = "on" | "last" | "malformed";

export function countsHops(method: string): boolean {
  return method === "TRACE" || method === "OPTIONS";
}

/** Whether such a request may go on; its count is one less afterwards. */
export function countHop(fields: FieldList): Forwarding {
  const at = fieldIndex(fields, 0);
  if (at === -1) return "on";
  const text = fields[at + 1] as string;
  if (!/^[0-9]+$/.test(text) || fieldIndex(fields, at + 2) !== -1) return "malformed";
  const count = Number(text);
  if (count === 0) return "last";
  fields[at + 1] = String(Math.min(count - 1, MAX_FORWARDS));
  return "on";
}

function fieldIndex(fields: FieldList, from: number): number {
  for (let i = from; i < fields.length; i += 2) if (fields[i] === "max-forwards") return i;
  return -1;
}
