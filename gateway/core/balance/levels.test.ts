import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Endpoint, LocalityPolicy } from "../ir/index.ts";
import { availability, DEFAULT_PANIC_PERCENT, levelLoads, OVERPROVISIONING_PERCENT } from "./levels.ts";
import { placesOf, takes } from "./locality.ts";

const level = (healthy: number, total: number) => ({ healthy, total });
const percents = (levels: Parameters<typeof levelLoads>[0], panic = DEFAULT_PANIC_PERCENT) =>
  levelLoads(levels, panic).map(({ percent, panics }) => (panics ? `${Math.round(percent)}!` : `${percent}`).toString());

describe("loads of levels", () => {
  it.each([
    ["all well", [level(10, 10), level(10, 10)], ["100", "0"]],
    // Envoy's documentation, "Priority levels": 72 % healthy bear everything, 71 % nearly.
    ["72 % well", [level(72, 100), level(100, 100)], ["100", "0"]],
    ["71 % well", [level(71, 100), level(100, 100)], ["99", "1"]],
    ["half", [level(50, 100), level(100, 100)], ["70", "30"]],
    ["a quarter", [level(25, 100), level(100, 100)], ["35", "65"]],
    ["none", [level(0, 100), level(100, 100)], ["0", "100"]],
    ["the first two of three are weak", [level(25, 100), level(25, 100), level(100, 100)], ["35", "35", "30"]],
    ["together they bear too little: shares are scaled", [level(5, 100), level(30, 100)], ["15!", "85!"]],
    ["just enough in one level", [level(5, 10)], ["100"]],
    ["too few in the only level", [level(4, 10)], ["100!"]],
    ["nobody anywhere: by count", [level(0, 30), level(0, 10)], ["75!", "25!"]],
    ["no endpoints", [level(0, 0)], ["100!"]],
  ])("%s", (_, levels, expected) => {
    const total = levels.reduce((sum, one) => sum + availability(one), 0);
    const seen = percents(levels);
    if (total < 100 && levels.length === 2 && total > 0) {
      // Both panic: shares are by count then.
      expect(seen).toEqual(["50!", "50!"]);
      expect(percents(levels, 1)).toEqual([`${100 - Math.floor((42 * 100) / 49)}`, `${Math.floor((42 * 100) / 49)}`]);
      return;
    }
    expect(seen).toEqual(expected);
  });

  it("without panic, nobody well means that the first level has it all, and nobody takes it", () => {
    expect(percents([level(0, 4), level(0, 4)], 0)).toEqual(["100", "0"]);
  });

  it("always make 100, whatever is well", () => {
    const one = fc.nat(20).chain((total) => fc.nat(total).map((healthy) => level(healthy, total)));
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 5 }), fc.nat(100), (levels, panic) => {
        const sum = levelLoads(levels, panic).reduce((all, { percent }) => all + percent, 0);
        expect(sum).toBeCloseTo(100, 6);
      }),
    );
  });

  it("an endpoint in ten can fail without another level being asked", () => {
    expect(availability(level(9, 10))).toBe(100);
    expect(availability(level(1, 100))).toBe(Math.floor(OVERPROVISIONING_PERCENT / 100));
  });
});

describe("places", () => {
  const at = (locality: string, labels?: Endpoint["labels"]): Endpoint => ({
    address: "10.0.0.1",
    port: 80,
    weight: 1,
    locality,
    ...(labels === undefined ? {} : { labels }),
  });
  const levels = (policy: LocalityPolicy, own: string | undefined, ...endpoints: Endpoint[]) =>
    placesOf(policy, endpoints, own).map((place) => place?.level);

  it("failover goes from the subzone outwards", () => {
    const policy: LocalityPolicy = { kind: "failover", regions: [["eu", "us"]] };
    const all = [at("eu/a/1"), at("eu/a/2"), at("eu/b/1"), at("us/a/1"), at("ap/a/1")];
    expect(levels(policy, "eu/a/1", ...all)).toEqual([0, 1, 2, 3, 4]);
    expect(levels(policy, "eu/a/1", at("us/a"), at("ap/a"))).toEqual([0, 1]);
    expect(levels(policy, "us/a/1", at("eu/a"), at("ap/a"))).toEqual([0, 0]);
    expect(levels(policy, undefined, ...all)).toEqual([0, 0, 0, 0, 0]);
  });

  it("failoverPriority compares labels in order up to the first that differs", () => {
    const policy: LocalityPolicy = {
      kind: "failover-priority",
      labels: [{ name: "topology.kubernetes.io/region" }, { name: "version", value: "v1" }],
    };
    const v1 = [["version", "v1"]] as const;
    expect(levels(policy, "eu/a", at("eu/a", v1), at("eu/b"), at("us/a", v1), at("us/a"))).toEqual([0, 1, 2, 2]);
    expect(levels(policy, undefined, at("eu/a", v1), at("us/a"))).toEqual([0, 0]);
  });

  it("distribute gives shares, and nothing to those it does not name", () => {
    const policy: LocalityPolicy = {
      kind: "distribute",
      rules: [
        {
          from: "eu/*",
          to: [
            ["eu/a/*", 80],
            ["eu/*", 15],
            ["us", 5],
          ],
        },
      ],
    };
    const all = [at("eu/a/1"), at("eu/b/1"), at("us/x"), at("ap")];
    expect(placesOf(policy, all, "eu/z").map((place) => place && `${place.group}=${place.groupWeight}`)).toEqual([
      "eu/a/*=80",
      "eu/*=15",
      "us=5",
      undefined,
    ]);
    // Nobody says anything about this region: all share.
    expect(levels(policy, "us/z", ...all)).toEqual([0, 0, 0, 0]);
  });

  it("patterns take what they leave out", () => {
    expect(["*", "eu", "eu/*", "eu/a", "eu/a/*", "eu/a/1"].every((pattern) => takes(pattern, "eu/a/1"))).toBe(true);
    expect(["us", "eu/b", "eu/a/2", "e"].some((pattern) => takes(pattern, "eu/a/1"))).toBe(false);
  });
});
