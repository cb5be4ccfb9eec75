/** Field lines between core's flat lists and the runtime's objects. */
import type { ReadonlyFieldList } from "../core/index.ts";

/** Field lines as `fetch` and `Response` take them. A record costs them least, and has one line for each name. */
export type FieldsInit = Record<string, string> | Headers;

export function fieldsInit(fields: ReadonlyFieldList): FieldsInit {
  const record: Record<string, string> = {};
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (name === NO_KEY || comesBefore(fields, i, name)) return linesOf(fields);
    record[name] = fields[i + 1] as string;
  }
  return record;
}

/** The one name in lower case that does not become a property of its own. */
const NO_KEY = "__proto__";

/** Names are compared for less than an object of any shape can be asked for one that it has not. */
export function comesBefore(fields: ReadonlyFieldList, at: number, name: string): boolean {
  for (let i = 0; i < at; i += 2) if (fields[i] === name) return true;
  return false;
}

/** Where a name comes several times. */
function linesOf(fields: ReadonlyFieldList): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) headers.append(fields[i] as string, fields[i + 1] as string);
  return headers;
}

/**
 * Makes `headers`, which say `before`, say `after`. Core takes a field out with all its lines, leaves the others in their order, and adds its own behind them.
 */
export function changeFields(headers: Headers, before: ReadonlyFieldList, after: ReadonlyFieldList): void {
  let kept = 0;
  for (let i = 0; i < before.length; i += 2) {
    const name = before[i] as string;
    if (after[kept] === name && after[kept + 1] === before[i + 1]) kept += 2;
    else headers.delete(name);
  }
  for (; kept < after.length; kept += 2) headers.append(after[kept] as string, after[kept + 1] as string);
}
