/**
 * Subject alternative names (RFC 5280 4.2.1.6) out of the text that runtimes make of them, and names that they are held against.
 *
 * The text is a list, `DNS:a.example, URI:spiffe://mesh/x`. What a certificate's issuer put into one name must never read as two: a name with a
 * comma, a quote, a control or non-ASCII character comes as a JSON string (`DNS:"a, DNS:b"`), and is one name here, too. Text of any other
 * form makes the whole list unreadable, which is: no name at all.
 */
export interface AltName {
  readonly type: "dns" | "uri" | "ip" | "email" | "other";
  readonly value: string;
}

/** Names of one certificate that are read at most. */
export const MAX_ALT_NAMES = 1_024;

const TYPES: Readonly<Record<string, AltName["type"]>> = { DNS: "dns", URI: "uri", "IP Address": "ip", email: "email" };
const JSON_STRING = /^"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/;
const PLAIN = /^[^,"\u0000-\u001f\u007f-\uffff]*/;
const LABEL = /^[A-Za-z][A-Za-z0-9 ]*/;

/** Undefined: the text cannot be read. */
export function parseAltNames(text: string): readonly AltName[] | undefined {
  const names: AltName[] = [];
  let rest = text;
  while (rest !== "") {
    const name = readName(rest);
    if (name === undefined || names.length >= MAX_ALT_NAMES) return undefined;
    names.push(name.name);
    rest = rest.slice(name.length);
    if (rest === "") break;
    // Nothing may follow but another name.
    if (!rest.startsWith(", ") || rest.length === 2) return undefined;
    rest = rest.slice(2);
  }
  return names;
}

function readName(text: string): { readonly name: AltName; readonly length: number } | undefined {
  const label = LABEL.exec(text)?.[0];
  if (label === undefined || text[label.length] !== ":") return undefined;
  const type = Object.hasOwn(TYPES, label) ? (TYPES[label] ?? "other") : "other";
  const from = label.length + 1;
  const value = text.slice(from);
  const quoted = JSON_STRING.exec(value)?.[0];
  if (quoted !== undefined) return { name: { type, value: JSON.parse(quoted) as string }, length: from + quoted.length };
  const plain = PLAIN.exec(value)?.[0] ?? "";
  return { name: { type, value: plain }, length: from + plain.length };
}

/**
 * Whether one of the names is one of those wanted, whole. Host names are compared without regard to case, and a certificate's `*.` stands for one
 * label (RFC 6125 6.4.3).
 */
export function hasAltName(names: readonly AltName[], wanted: readonly string[]): boolean {
  return names.some(({ type, value }) =>
    type === "dns" ? wanted.some((name) => coversHost(value, name)) : type !== "other" && wanted.includes(value),
  );
}

function coversHost(pattern: string, host: string): boolean {
  const [own, asked] = [pattern.toLowerCase(), host.toLowerCase()];
  if (own === asked) return true;
  if (!own.startsWith("*.") || own.lastIndexOf("*") !== 0) return false;
  const dot = asked.indexOf(".");
  // `*.com` would stand for everybody's name.
  return dot > 0 && asked.slice(dot) === own.slice(1) && own.indexOf(".", 2) !== -1;
}
