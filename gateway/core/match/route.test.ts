import fc from "fast-check";
import { expect, it } from "vitest";
import { nothingMade } from "../compile/made.ts";
import { compileMatch } from "../compile/match.ts";
import { buildPathTree, candidate, type LooseCandidate } from "../compile/route-index.ts";
import { literalPrefix, RegexCache } from "../compile/string.ts";
import type { RouteMatch, StringMatch } from "../ir/index.ts";
import type { Issue } from "../result.ts";
import { failedCondition, type RequestView } from "./request.ts";
import { findRoute } from "./route.ts";

const issues: Issue[] = [];
const to = { regexes: new RegexCache(undefined), made: nothingMade(), issues };

// Few letters, so that paths and prefixes meet often.
const path = fc.array(fc.constantFrom("/", "a", "b", "ab", "/a"), { maxLength: 5 }).map((parts) => `/${parts.join("")}`);
const pathMatch: fc.Arbitrary<StringMatch> = fc.oneof(
  path.map((value) => ({ kind: "exact", value }) as const),
  path.map((value) => ({ kind: "prefix", value }) as const),
  path.map((value) => ({ kind: "segmentPrefix", value }) as const),
  path.map((value) => ({ kind: "suffix", value: value.slice(1) }) as const),
  path.map((value) => ({ kind: "regex", value: `${value}[ab]*` }) as const),
  path.map((value) => ({ kind: "regex", value: `${value}?.*` }) as const),
  path.map((value) => ({ kind: "regex", value: `${value}|/b` }) as const),
);
const match: fc.Arbitrary<RouteMatch> = fc
  .tuple(fc.option(pathMatch), fc.constantFrom("GET", "POST", undefined), fc.boolean())
  .map(([pathPart, method, ignorePathCase]) => ({
    ...(pathPart === null ? {} : { path: pathPart, ignorePathCase }),
    ...(method === undefined ? {} : { method: { kind: "exact", value: method } as const }),
  }));

function request(target: string, method: string): RequestView {
  return { method, scheme: "http", authority: "a", path: target, query: "", fields: [], servicePort: 80 };
}

it("the path tree gives the first match of the list, whatever the list", () => {
  fc.assert(
    fc.property(
      fc.array(match, { maxLength: 30 }),
      fc.array(path, { minLength: 1, maxLength: 10 }),
      fc.boolean(),
      (matches, targets, post) => {
        const candidates: LooseCandidate<number>[] = matches.map((source, order) =>
          candidate(order, order, Object.keys(source).length === 0 ? undefined : compileMatch(source, "m", to)),
        );
        const tree = buildPathTree(candidates);
        for (const target of targets) {
          const view = request(target, post ? "POST" : "GET");
          const naive = candidates.find(
            (candidate) => candidate.match === undefined || failedCondition(candidate.match, view) === undefined,
          );
          expect(findRoute(tree, view)?.order).toBe(naive?.order);
        }
      },
    ),
    { numRuns: 300 },
  );
  expect(issues).toEqual([]);
});

it("ten thousand routes of one host are met through a handful of nodes", () => {
  let tested = 0;
  const candidates: LooseCandidate<number>[] = Array.from({ length: 10_000 }, (_, order) => {
    const path = { kind: "prefix", value: `/svc-${order}/` } as const;
    const compiled = compileMatch({ path, method: { kind: "exact", value: "GET" } }, "m", to);
    const counted = {
      ...compiled,
      get path() {
        tested++;
        return compiled.path;
      },
    };
    return candidate(order, order, counted);
  });
  const tree = buildPathTree(candidates);
  tested = 0;
  expect(findRoute(tree, request("/svc-9876/x", "GET"))?.order).toBe(9876);
  expect(tested).toBeLessThanOrEqual(4);
});

it.each([
  ["/api/v[0-9]+", "/api/v"],
  ["^/api/.*$", "/api/"],
  ["/ab?c", "/a"],
  ["/ab{2}", "/a"],
  ["/a|/b", ""],
  ["(?i)/a", ""],
  ["/a\\.b", "/a"],
  ["/\u{1f600}*", ""],
  [".*", ""],
  ["/plain", "/plain"],
])("what %s starts with", (source, prefix) => {
  expect(literalPrefix(source)).toBe(prefix);
});
