/** RFC 7541 Appendix A. */
import { kindOf } from "../message/kinds.ts";
import { type FieldEntry, newEntry } from "./entry.ts";

const FIELDS = [
  ":authority", ":method GET", ":method POST", ":path /", ":path /index.html", ":scheme http", ":scheme https", ":status 200", ":status 204",
  ":status 206", ":status 304", ":status 400", ":status 404", ":status 500", "accept-charset", "accept-encoding gzip, deflate", "accept-language",
  "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization", "cache-control", "content-disposition",
  "content-encoding", "content-language", "content-length", "content-location", "content-range", "content-type", "cookie", "date", "etag", "expect",
  "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location",
  "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie",
  "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate",
]; // biome-ignore format: a list of words

/** Entries by index; the first place is empty, for indices begin with 1. */
export const STATIC_TABLE: readonly (FieldEntry | undefined)[] = [
  undefined,
  ...FIELDS.map((field) => {
    const [name = "", value = ""] = split(field);
    return newEntry(kindOf(name), name, value);
  }),
];

export const STATIC_LENGTH = FIELDS.length;

function split(field: string): readonly [string, string] {
  const space = field.indexOf(" ");
  return space === -1 ? [field, ""] : [field.slice(0, space), field.slice(space + 1)];
}
