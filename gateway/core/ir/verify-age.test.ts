import { expect, test } from "vitest";
import { manifestOf, NOW_S } from "../../../test/support/snapshots.ts";
import { cohortOf, isRolledOut, sectionState } from "./verify-age.ts";

const base = manifestOf([]);
const manifest = {
  ...base,
  sections: {
    routes: { softExp: NOW_S + 10, exp: NOW_S + 100, failMode: "keep" as const, chunks: [] },
    egress: { softExp: NOW_S + 20, exp: NOW_S + 30, failMode: "closed" as const, chunks: [] },
    quota: { softExp: NOW_S + 200, exp: NOW_S + 300, failMode: "keep" as const, chunks: [] },
  },
};

test.each([
  [0, "fresh", "fresh", NOW_S + 10],
  [9, "fresh", "fresh", NOW_S + 10],
  [10, "stale", "fresh", NOW_S + 20],
  [20, "stale", "stale", NOW_S + 30],
  [30, "stale", "expired", NOW_S + 100],
  [100, "expired", "expired", NOW_S + 200],
  [300, "expired", "expired", undefined],
])("after %i s routes are %s, egress is %s", (after, routes, egress, nextChangeS) => {
  const age = sectionState(manifest, NOW_S + after);
  expect(age.sections.routes.kind).toBe(routes);
  expect(age.sections.egress.kind).toBe(egress);
  expect(age.nextChangeS).toBe(nextChangeS);
});

test("an expired section says for how long, and what then applies", () => {
  expect(sectionState(manifest, NOW_S + 130).sections).toMatchObject({
    routes: { kind: "expired", forS: 30, failMode: "keep" },
    egress: { kind: "expired", forS: 100, failMode: "closed" },
    quota: { kind: "fresh" },
  });
});

const gateways = Array.from({ length: 10_000 }, (_, i) => `gateway-${i}`);

test("cohorts: a share is that share, and grows without letting go", () => {
  const rollout = (percent: number) => ({ salt: "v7", percent, notBefore: 0 });
  const reached = (percent: number) => gateways.filter((id) => isRolledOut(rollout(percent), id, NOW_S));
  expect(reached(0)).toHaveLength(0);
  expect(reached(100)).toHaveLength(gateways.length);
  const tenth = reached(10);
  expect(tenth.length).toBeGreaterThan(900);
  expect(tenth.length).toBeLessThan(1_100);
  expect(reached(30)).toEqual(expect.arrayContaining(tenth));
});

test("cohorts: another salt puts others first, and nothing moves before its time", () => {
  const ranks = gateways.slice(0, 200).map((id) => cohortOf("a", id) < 50 === cohortOf("b", id) < 50);
  const agreeing = ranks.filter(Boolean).length;
  expect(agreeing).toBeGreaterThan(60);
  expect(agreeing).toBeLessThan(140);
  expect(isRolledOut({ salt: "", percent: 100, notBefore: NOW_S + 1 }, "g", NOW_S)).toBe(false);
  expect(isRolledOut({ salt: "", percent: 100, notBefore: NOW_S }, "g", NOW_S)).toBe(true);
});
