import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { OutlierDetection } from "../ir/index.ts";
import { type EndpointState, type HealthEvent, isFit, transition } from "./endpoint.ts";
import { ejectionMs, grpcOutcome, MAX_EJECTION_MS, mayEject, newCounts, type Outcome, observe, outcomeOf } from "./outlier.ts";
import { warmShare } from "./warmup.ts";

const policy: OutlierDetection = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 2,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 2,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 50,
};

function run(outcomes: readonly Outcome[], more: Partial<OutlierDetection> = {}): (string | undefined)[] {
  const counts = newCounts();
  return outcomes.map((outcome) => observe(counts, outcome, { ...policy, ...more }));
}

describe("consecutive failures", () => {
  it.each<[string, Outcome[], Partial<OutlierDetection>, (string | undefined)[]]>([
    ["5xx in a row", ["5xx", "5xx", "5xx"], {}, [undefined, undefined, "consecutive-5xx"]],
    [
      "a success in between",
      ["5xx", "5xx", "success", "5xx", "5xx"],
      {},
      [undefined, undefined, undefined, undefined, undefined],
    ],
    ["gateway errors", ["gateway-error", "gateway-error"], {}, [undefined, "consecutive-gateway-errors"]],
    [
      "a plain 500 between gateway errors",
      ["gateway-error", "5xx", "gateway-error"],
      {},
      [undefined, undefined, "consecutive-5xx"],
    ],
    ["0 is off", ["gateway-error", "gateway-error"], { consecutiveGatewayErrors: 0 }, [undefined, undefined]],
    ["all off", ["5xx", "5xx", "5xx", "5xx"], { consecutive5xx: 0 }, [undefined, undefined, undefined, undefined]],
    ["no response counts as a gateway error", ["local-failure", "gateway-error"], {}, [undefined, "consecutive-gateway-errors"]],
    [
      "split: no response counts apart",
      ["local-failure", "gateway-error", "local-failure", "local-failure"],
      { splitLocalOrigin: true },
      [undefined, undefined, undefined, "consecutive-local-origin-failures"],
    ],
    [
      "counts start over",
      ["5xx", "5xx", "5xx", "5xx", "5xx"],
      {},
      [undefined, undefined, "consecutive-5xx", undefined, undefined],
    ],
  ])("%s", (_, outcomes, more, expected) => {
    expect(run(outcomes, more)).toEqual(expected);
  });

  it("nobody is ejected who succeeds at least every other time", () => {
    const outcome = fc.constantFrom<Outcome>("5xx", "gateway-error", "local-failure");
    fc.assert(
      fc.property(fc.array(outcome), fc.boolean(), (failures, splitLocalOrigin) => {
        const mixed = failures.flatMap((failure): Outcome[] => [failure, "success"]);
        expect(run(mixed, { splitLocalOrigin }).every((reason) => reason === undefined)).toBe(true);
      }),
    );
  });
});

const GRPC = ["content-type", "application/grpc"];

it.each([
  [200, [], "success"],
  [404, [], "success"],
  [500, [], "5xx"],
  [501, [], "5xx"],
  [502, [], "gateway-error"],
  [503, [], "gateway-error"],
  [504, [], "gateway-error"],
  [505, [], "5xx"],
  [200, [...GRPC, "grpc-status", "0"], "success"],
  [200, [...GRPC, "grpc-status", "5"], "success"],
  [200, [...GRPC, "grpc-status", "14"], "gateway-error"],
  [200, [...GRPC, "grpc-status", "13"], "5xx"],
  [200, GRPC, undefined],
  [503, GRPC, "gateway-error"],
  [200, ["grpc-status", "14"], "success"],
] as const)("a response of %i %j is a %s", (status, fields, outcome) => {
  expect(outcomeOf({ status, fields: [...fields], body: { kind: "none" } })).toBe(outcome);
});

it.each([
  ["0", "success"],
  ["4", "gateway-error"],
  ["2", "5xx"],
  ["x", "success"],
])("gRPC trailers of status %s are a %s", (status, outcome) => {
  expect(grpcOutcome(["grpc-status", status])).toBe(outcome);
});

it("ejections grow with their number, up to MAX_EJECTION_MS or a longer base", () => {
  expect([1, 2, 3].map((count) => ejectionMs(policy, count))).toEqual([30_000, 60_000, 90_000]);
  expect(ejectionMs(policy, 1000)).toBe(MAX_EJECTION_MS);
  expect(ejectionMs({ ...policy, baseEjectionMs: 2 * MAX_EJECTION_MS }, 3)).toBe(2 * MAX_EJECTION_MS);
});

it.each([
  [0, 10, 10, true],
  [1, 10, 10, false],
  [0, 9, 10, false],
  [0, 2, 50, true],
  [1, 2, 50, false],
  [1, 2, 100, true],
  [0, 0, 100, false],
])("%i ejected of %i, at most %i %%: one more %s", (ejected, total, percent, may) => {
  expect(mayEject(ejected, total, percent)).toBe(may);
});

describe("endpoint states", () => {
  const EVENTS: readonly HealthEvent[] = [
    { kind: "came" },
    { kind: "left" },
    { kind: "warm" },
    { kind: "ejection-over" },
    { kind: "check-passed" },
    { kind: "check-failed", reason: "503" },
    { kind: "ejected", untilMs: 9, reason: "consecutive-5xx" },
  ];
  const STATES: { readonly [kind in EndpointState["kind"]]: EndpointState } = {
    healthy: { kind: "healthy" },
    warming: { kind: "warming", sinceMs: 1 },
    ejected: { kind: "ejected", untilMs: 5, reason: "consecutive-5xx" },
    unhealthy: { kind: "unhealthy", reason: "refused" },
    draining: { kind: "draining" },
  };
  const next = (warms: boolean) =>
    Object.values(STATES).map((state) => EVENTS.map((event) => transition(state, event, 7, warms).kind).join(" "));

  it("is the diagram, without warm-up", () => {
    expect(next(false)).toEqual([
      "healthy draining healthy healthy healthy unhealthy ejected",
      "warming draining healthy warming warming unhealthy ejected",
      "ejected draining ejected healthy ejected unhealthy ejected",
      "unhealthy draining unhealthy unhealthy healthy unhealthy unhealthy",
      "healthy draining draining draining draining draining draining",
    ]);
  });

  it("and with it", () => {
    expect(next(true)).toEqual([
      "healthy draining healthy healthy healthy unhealthy ejected",
      "warming draining healthy warming warming unhealthy ejected",
      "ejected draining ejected warming ejected unhealthy ejected",
      "unhealthy draining unhealthy unhealthy warming unhealthy unhealthy",
      "warming draining draining draining draining draining draining",
    ]);
  });

  it("requests go to those that are neither ejected nor unhealthy", () => {
    expect(Object.values(STATES).filter(isFit)).toEqual([STATES.healthy, STATES.warming, STATES.draining]);
  });
});

it("a warming share grows from the minimum to the whole; aggression makes it steeper at first", () => {
  const warmup = { durationMs: 10_000, minimumPercent: 10, aggression: 1 };
  expect([0, 500, 5_000, 10_000, 20_000].map((ms) => warmShare(warmup, ms))).toEqual([0.1, 0.1, 0.5, 1, 1]);
  expect(warmShare({ ...warmup, aggression: 2 }, 2_500)).toBe(0.5);
  expect(warmShare({ ...warmup, minimumPercent: 0 }, 0)).toBeGreaterThan(0);
});
