/** Fields by which a response says what it was held against, where the configuration asks for them. */
import type { HeaderEdit } from "../compile/headers.ts";
import { editFields } from "../filter/headers.ts";
import type { FieldList } from "../http/message.ts";

/** The origin's own say about snapshots would be somebody else's. */
const OWN: HeaderEdit = { drop: new Set(["x-tidegate-snapshot", "x-tidegate-rule", "x-tidegate-reason"]), append: [] };

/** @param fields of a response; they are changed */
export function addExplainFields(
  fields: FieldList,
  snapshotVersion: string,
  rule: string | undefined,
  reason: string | undefined,
): void {
  editFields(fields, OWN);
  fields.push("x-tidegate-snapshot", snapshotVersion);
  if (rule !== undefined) fields.push("x-tidegate-rule", printable(rule));
  if (reason !== undefined) fields.push("x-tidegate-reason", printable(reason));
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
