import type { FieldMatch, Origin, StringMatch } from "../common.ts";
import { array, boolean, integer, number, text } from "./check.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { type Make, object, optional, variants } from "./object.ts";

export const name = text({ max: LIMITS.nameLength });
/** May be empty: the prefix of everything, the value of an empty header. */
export const anyText = text({ max: LIMITS.textLength, min: 0 });
export const someText = text({ max: LIMITS.textLength });
/** Exact host, `*.suffix`, `*`, or an IP literal: lower case, nothing else of a URL. */
export const hostPattern = text({
  max: LIMITS.hostLength,
  pattern: /^(?:\*|(?:\*\.)?[0-9a-z_](?:[0-9a-z_.-]*[0-9a-z_.])?|[0-9a-f:.]*:[0-9a-f:.]*|\[[0-9a-f:.]+\])$/,
  is: "a lower case host name, `*.` and a host name, `*`, or an IP literal",
});
export const address = text({ max: LIMITS.hostLength, pattern: /^[0-9A-Za-z_.:-]+$/, is: "an IP literal or a host name" });
export const cidr = text({ max: 64, pattern: /^[0-9a-f.:]+\/[0-9]{1,3}$/, is: "an address range such as 10.0.0.0/8" });
export const port = integer(1, 65_535);
export const durationMs = integer(0, LIMITS.durationMs);
export const percent = number(0, 100);
export const weight = integer(1, 1_000_000_000);
export const quotaIds = array(name, LIMITS.quotaReferences);
export const names = array(name, LIMITS.listLength);
/** RFC 9110 5.6.2 token in lower case; a leading colon for pseudo-headers such as `:authority`. */
export const fieldName = text({ max: LIMITS.nameLength, pattern: /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/, is: "a lower case field name" });
/** RFC 9110 5.5: no control characters but tab, so that no value can start a line of its own. */
export const fieldValue = text({
  max: LIMITS.textLength,
  min: 0,
  pattern: /^[^\u0000-\u0008\u000a-\u001f\u007f]*$/,
  is: "free of control characters",
});

export const origin = object<Origin>(
  { kind: name, namespace: text({ max: LIMITS.nameLength, min: 0 }), name, path: optional(someText) },
  (kind, namespace, name, path) => ({ kind, namespace, name, path }),
);
export const origins = array(origin, LIMITS.listLength);

const makeComparison: Make = (kind, value, ignoreCase) => ({ kind, value, ignoreCase });
export const stringMatch = variants<StringMatch, "kind">(
  "kind",
  {
    exact: { value: anyText, ignoreCase: optional(boolean) },
    prefix: { value: anyText, ignoreCase: optional(boolean) },
    suffix: { value: anyText, ignoreCase: optional(boolean) },
    segmentPrefix: { value: anyText },
    regex: { value: anyText },
    present: {},
  },
  { exact: makeComparison, prefix: makeComparison, suffix: makeComparison },
);

const makeFieldMatch: Make = (name, match, invert) => ({ name, match, invert });
export const headerMatch = object<FieldMatch>({ name: fieldName, match: stringMatch, invert: optional(boolean) }, makeFieldMatch);
export const queryMatch = object<FieldMatch>({ name, match: stringMatch, invert: optional(boolean) }, makeFieldMatch);
