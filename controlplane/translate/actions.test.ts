import { describe, expect, test } from "vitest";
import { authorityOf, corsPolicy, faultOf, headerFields, retryPolicy, rewriteOf } from "./actions.ts";

const ops = (request: { set?: Record<string, string>; add?: Record<string, string>; remove?: string[] }) => ({
  request: { set: {}, add: {}, remove: [], ...request },
});

describe("retries", () => {
  test("by default: two, on what never reached the service, idempotent or never sent only", () => {
    expect(retryPolicy(undefined)).toEqual({
      attempts: 2,
      on: ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"],
      statusCodes: [],
      backoffBaseMs: 25,
      backoffMaxMs: 250,
      nonIdempotent: false,
    });
  });

  test("without retryOn the conditions are the default ones, whatever else is said", () => {
    const policy = retryPolicy({ attempts: 5, perTryTimeout: 100 });
    expect(policy).toMatchObject({ attempts: 5, perTryTimeoutMs: 100, nonIdempotent: false });
    expect(policy.on).toContain("connect-failure");
  });

  test("status codes become a list, sorted and each once", () => {
    expect(retryPolicy({ attempts: 1, retryOn: [503, "reset", 429, 503] })).toMatchObject({
      on: ["reset", "retriable-status-codes"],
      statusCodes: [429, 503],
      nonIdempotent: true,
    });
  });

  test("a condition that never comes to pass takes nothing from the others, and alone it is no reason to retry", () => {
    expect(retryPolicy({ attempts: 1, retryOn: ["5xx", "retriable-headers"] }).on).toEqual(["5xx"]);
    expect(retryPolicy({ attempts: 1, retryOn: ["retriable-headers"] }).on).toEqual([]);
  });

  test("attempts: 0 is off", () => {
    expect(retryPolicy({ attempts: 0 }).attempts).toBe(0);
  });
});

describe("faults", () => {
  test("of 0 % are none", () => {
    expect(faultOf({ delay: { fixedDelay: 5, percentage: 0 }, abort: { httpStatus: 500, percentage: 0 } })).toBeUndefined();
    expect(faultOf(undefined)).toBeUndefined();
  });

  test("keep the part that has a share", () => {
    expect(faultOf({ delay: { fixedDelay: 5, percentage: 0 }, abort: { httpStatus: 500, percentage: 0.5 } })).toEqual({
      abort: { status: 500, percent: 0.5 },
    });
  });
});

describe("the authority", () => {
  test.each([
    [ops({ set: { ":authority": "a" } }), "a"],
    [ops({ set: { host: "b" } }), "b"],
    [ops({ add: { host: "c" } }), "c"],
    [ops({ set: { ":authority": "a", host: "b" } }), "a"],
    [ops({ set: { "x-a": "1" } }), undefined],
    [undefined, undefined],
  ])("of %j is %j", (headers, expected) => {
    expect(authorityOf(headers)).toBe(expected);
  });

  test("rewrite.authority wins over Host in headers, and neither stays a header operation", () => {
    const headers = ops({ set: { host: "from-headers", "x-a": "1" }, add: { host: "again" } });
    expect(rewriteOf({ authority: "from-rewrite" }, headers)).toEqual({ authority: "from-rewrite" });
    expect(rewriteOf(undefined, headers)).toEqual({ authority: "from-headers" });
    expect(headerFields(headers)).toEqual({ requestHeaders: { set: [["x-a", "1"]] } });
  });

  test("nothing to rewrite is no rewrite", () => {
    expect(rewriteOf(undefined, undefined)).toBeUndefined();
    expect(headerFields(ops({}))).toEqual({});
  });
});

test("CORS max age is in whole seconds; an unspecified unmatched preflight is forwarded", () => {
  const cors = {
    allowOrigins: [],
    allowMethods: [],
    allowHeaders: [],
    exposeHeaders: [],
    maxAge: 1999,
    allowCredentials: false,
    unmatchedPreflights: "UNSPECIFIED" as const,
  };
  expect(corsPolicy(cors)).toMatchObject({ maxAgeS: 1, unmatchedPreflights: "forward" });
});
