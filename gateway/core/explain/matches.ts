/** Why this route and none before it. */
import { type Candidate, candidatesOf } from "../compile/route-index.ts";
import type { FieldTest, StringTest } from "../compile/string.ts";
import type { CompiledRoute, CompiledVirtualHost } from "../compile/tables.ts";
import { fieldJoined } from "../http/message.ts";
import { queryValue } from "../match/query.ts";
import { type Condition, failedCondition, type RequestView, testHeader, testQuery } from "../match/request.ts";
import { unreachable } from "../result.ts";
import type { TriedMatch } from "./explanation.ts";

/** Every match that is looked at for the request up to the one that `found` it, in order. */
export function triedMatches(
  virtualHost: CompiledVirtualHost,
  found: Candidate<CompiledRoute> | undefined,
  request: RequestView,
): readonly TriedMatch[] {
  return candidatesOf(virtualHost.index)
    .filter(({ order }) => found === undefined || order <= found.order)
    .map(({ route, match }) => {
      const condition = match === undefined ? undefined : failedCondition(match, request);
      return {
        route: route.source.id,
        match: match === undefined ? undefined : route.source.matches.indexOf(match.source),
        verdict: condition === undefined ? "matches" : "fails",
        why: condition === undefined || match === undefined ? undefined : whyNot(condition, match, request),
      };
    });
}

function whyNot(condition: Condition, match: NonNullable<Candidate<CompiledRoute>["match"]>, request: RequestView): string {
  switch (condition) {
    case "path":
    case "method":
    case "scheme":
    case "authority":
      return `${condition} ${JSON.stringify(request[condition])} is not ${describe(match[condition])}`;
    case "port":
      return `the listener's service port is ${request.servicePort}, not ${match.port}`;
    case "headers": {
      const test = match.headers.find((header) => !testHeader(header, request.fields));
      return whyField("header", test, test && fieldJoined(request.fields, test.name));
    }
    case "query": {
      const test = match.query.find((parameter) => !testQuery(parameter, request.query));
      return whyField("query parameter", test, test && queryValue(request.query, test.name));
    }
    default:
      return unreachable(condition);
  }
}

function whyField(what: string, test: FieldTest | undefined, value: string | undefined): string {
  if (test === undefined) return `a ${what} does not match`;
  const is = value === undefined ? "is absent" : `is ${JSON.stringify(value)}`;
  return `${what} ${test.name} ${is}, ${test.invert ? "and must not be" : "not"} ${describe(test.test)}`;
}

function describe(test: StringTest | undefined): string {
  if (test === undefined) return "anything";
  if (test.kind === "present") return "present";
  const value = test.kind === "regex" ? test.value : JSON.stringify(test.value);
  return `${test.kind} ${value}${test.ignoreCase ? " (any case)" : ""}`;
}
