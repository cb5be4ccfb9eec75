import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";
import { affordsRetry } from "./budget.ts";
import { earlier } from "./deadline.ts";
import { compileRetry, isIdempotent, retriesFailure, retriesTimeout } from "./policy.ts";

const budget = { percent: 20, minConcurrent: 3 };

function cluster(retryBudget: typeof budget, active: number, retrying: number, maxRetries?: number) {
  const circuit = maxRetries === undefined ? undefined : { maxRetries };
  return { retryBudget, state: { active, retrying }, circuit } as unknown as Parameters<typeof affordsRetry>[0];
}

it.each([
  [0, 0, true],
  [1, 2, true],
  [1, 3, false],
  [100, 19, true],
  [100, 20, false],
  [14, 2, true],
])("budget: %i in flight, %i of them retries: %s", (active, retrying, affords) => {
  expect(affordsRetry(cluster(budget, active, retrying))).toBe(affords);
});

it("a budget of nothing allows nothing", () => {
  expect(affordsRetry(cluster({ percent: 0, minConcurrent: 0 }, 1000, 0))).toBe(false);
});

it("maxRetries holds whatever the budget allows", () => {
  expect(affordsRetry(cluster(budget, 1000, 1, 2))).toBe(true);
  expect(affordsRetry(cluster(budget, 1000, 2, 2))).toBe(false);
  expect(affordsRetry(cluster(budget, 1, 0, 0))).toBe(false);
});

it("back-off is anything up to a bound that doubles to its limit", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (retry, thrown) => {
      const wait = backoffMs(retry, 25, 250, () => thrown);
      expect(wait).toBe(thrown * Math.min(250, 25 * 2 ** (retry - 1)));
    }),
  );
});

it("undefined is never", () => {
  expect([earlier(1, 2), earlier(2, 1), earlier(undefined, 2), earlier(2, undefined), earlier(undefined, undefined)]).toEqual([
    1,
    1,
    2,
    2,
    undefined,
  ]);
});

it("idempotent methods (RFC 9110 9.2.2)", () => {
  expect(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].every(isIdempotent)).toBe(true);
  expect(["POST", "PATCH", "CONNECT", "get", "FOO"].some(isIdempotent)).toBe(false);
});

describe("policy", () => {
  const policy = compileRetry({
    attempts: 2,
    on: ["connect-failure", "reset", "5xx"],
    statusCodes: [],
    backoffBaseMs: 25,
    backoffMaxMs: 250,
    nonIdempotent: false,
  })!;
  const failure = { code: "upstream_reset", reason: "", neverSent: false, replayable: true } as const;

  it("nothing is repeated whose body is gone", () => {
    expect(retriesFailure(policy, "GET", { ...failure, replayable: false })).toBe(false);
    expect(retriesTimeout(policy, "PUT", false)).toBe(false);
  });

  it("failures that are not the origin's are not repeated", () => {
    expect(retriesFailure(policy, "GET", { ...failure, code: "internal" })).toBe(false);
    expect(retriesFailure(policy, "GET", { ...failure, code: "body_too_large" })).toBe(false);
  });

  it("what was never sent is repeated for any method", () => {
    expect(retriesFailure(policy, "POST", { ...failure, neverSent: true })).toBe(true);
    expect(retriesFailure(policy, "POST", failure)).toBe(false);
  });
});
