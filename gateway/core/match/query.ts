/**
 * The raw value of the first query parameter called `name`, or undefined. Names and values are compared as sent, not percent-decoded
 * (Envoy does the same); a parameter without `=` has the value "".
 *
 * @param query what follows the first `?`, without it
 */
export function queryValue(query: string, name: string): string | undefined {
  let start = 0;
  while (start < query.length) {
    let end = query.indexOf("&", start);
    if (end === -1) end = query.length;
    if (query.startsWith(name, start)) {
      const after = start + name.length;
      if (after === end) return "";
      if (after < end && query.charCodeAt(after) === EQUALS) return query.slice(after + 1, end);
    }
    start = end + 1;
  }
  return undefined;
}

const EQUALS = 0x3d;
