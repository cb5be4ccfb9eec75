/** JSON with every object's keys sorted and nothing undefined. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const held = value as Record<string, unknown>;
  let fields = "";
  for (const name of Object.keys(held).sort()) {
    const item = held[name];
    if (item !== undefined) fields += `${fields === "" ? "" : ","}${JSON.stringify(name)}:${canonicalJson(item)}`;
  }
  return `{${fields}}`;
}
