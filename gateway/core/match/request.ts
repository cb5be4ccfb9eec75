/** A request against one match: do all its conditions hold, and if not, which is the first that fails? */
import type { MatchTest } from "../compile/match.ts";
import type { FieldTest } from "../compile/string.ts";
import { fieldJoined, type ReadonlyFieldList } from "../http/message.ts";
import { queryValue } from "./query.ts";
import { testString } from "./string.ts";

/** What conditions look at. */
export interface RequestView {
  readonly method: string;
  readonly scheme: string;
  /** host[:port] as sent, lower case. */
  readonly authority: string;
  /** Normalised (see path.ts), without query. */
  readonly path: string;
  /** Without `?`; "" when there is none. */
  readonly query: string;
  readonly fields: ReadonlyFieldList;
  /** Port as the Gateway object declares it. */
  readonly servicePort: number;
}

export type Condition = "port" | "method" | "path" | "scheme" | "authority" | "headers" | "query";

/** The first condition that does not hold, cheapest first; undefined: the request matches. */
export function failedCondition(match: MatchTest, request: RequestView): Condition | undefined {
  if (match.path !== undefined && !testString(match.path, request.path)) return "path";
  if (match.method !== undefined && !testString(match.method, request.method)) return "method";
  if (match.port !== undefined && match.port !== request.servicePort) return "port";
  if (match.scheme !== undefined && !testString(match.scheme, request.scheme)) return "scheme";
  if (match.authority !== undefined && !testString(match.authority, request.authority)) return "authority";
  for (const test of match.headers) if (!testHeader(test, request.fields)) return "headers";
  for (const test of match.query) if (!testQuery(test, request.query)) return "query";
  return undefined;
}

/** Repeated lines count as one value, joined as RFC 9110 5.3 says. */
export function testHeader(test: FieldTest, fields: ReadonlyFieldList): boolean {
  const value = fieldJoined(fields, test.name);
  return (value !== undefined && testString(test.test, value)) !== test.invert;
}

export function testQuery(test: FieldTest, query: string): boolean {
  const value = queryValue(query, test.name);
  return (value !== undefined && testString(test.test, value)) !== test.invert;
}
