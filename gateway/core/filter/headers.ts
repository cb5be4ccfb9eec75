import type { HeaderEdit } from "../compile/headers.ts";
import type { FieldList } from "../http/message.ts";

/** Applies a header edit to a list that belongs to the caller. */
export function editFields(fields: FieldList, edit: HeaderEdit): void {
  if (edit.drop.size > 0) {
    let kept = 0;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string;
      if (edit.drop.has(name)) continue;
      fields[kept] = name;
      fields[kept + 1] = fields[i + 1] as string;
      kept += 2;
    }
    fields.length = kept;
  }
  for (const part of edit.append) fields.push(part);
}
