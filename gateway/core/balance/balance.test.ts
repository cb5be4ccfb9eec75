import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { UpstreamTarget } from "../step.ts";
import { type Balancer, MAX_REPICKS, pickUntried, type Weighted } from "./balancer.ts";
import { LeastRequestBalancer } from "./least-request.ts";
import { RandomBalancer } from "./random.ts";
import { MAX_ROUND, RoundRobinBalancer } from "./round-robin.ts";

function members(...weights: number[]): Weighted[] {
  return weights.map((weight, i) => {
    const endpoint = { key: `c|10.0.0.${i}|80`, address: `10.0.0.${i}`, port: 80, weight, active: 0, runtime: undefined };
    return { weight, target: { endpoint, tls: undefined } as unknown as UpstreamTarget };
  });
}

/** Numerical Recipes' generator: good enough for shares, and the same every time. */
function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function shares(balancer: Balancer, list: readonly Weighted[], throws: number, seed = 1): number[] {
  const random = dice(seed);
  const counts = list.map(() => 0);
  for (let i = 0; i < throws; i++) {
    const target = balancer.next(random, 0, undefined);
    counts[list.findIndex((member) => member.target === target)]! += 1;
  }
  return counts.map((count) => count / throws);
}

describe("shares follow the weights", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 });
  const expected = (list: readonly number[]) => list.map((weight) => weight / list.reduce((a, b) => a + b));

  it("exactly, over a round, in turn", () => {
    fc.assert(
      fc.property(weights, (list) => {
        const all = members(...list);
        const round = list.reduce((a, b) => a + b);
        expect(shares(new RoundRobinBalancer(all, { cursor: 0 }), all, round)).toEqual(expected(list));
      }),
    );
  });

  it.each([
    ["random", (all: Weighted[]) => new RandomBalancer(all)],
    ["least request, idle", (all: Weighted[]) => new LeastRequestBalancer(all)],
  ] as const)("%s, about", (_, make) => {
    fc.assert(
      fc.property(weights, fc.integer(), (list, seed) => {
        const all = members(...list);
        for (const [i, share] of shares(make(all), all, 4000, seed).entries()) expect(share).toBeCloseTo(expected(list)[i]!, 1);
      }),
      { numRuns: 20 },
    );
  });
});

it("a round is spread: no member comes twice in a row before the others came", () => {
  const all = members(2, 2, 1);
  const balancer = new RoundRobinBalancer(all, { cursor: 0 });
  const round = Array.from({ length: 5 }, () => balancer.next());
  const order = round.map((target) => all.findIndex((member) => member.target === target));
  expect(order).toEqual([0, 1, 2, 0, 1]);
});

it("the round goes on where the snapshot before left it", () => {
  const state = { cursor: 0 };
  const all = members(1, 1, 1);
  new RoundRobinBalancer(all, state).next();
  expect(new RoundRobinBalancer(all, state).next()).toBe(all[1]!.target);
});

it("a smaller round than the cursor is no problem", () => {
  const all = members(1, 1);
  expect(new RoundRobinBalancer(all, { cursor: 7 }).next()).toBe(all[1]!.target);
});

it("a round has at most MAX_ROUND turns, about, and nobody is left out", () => {
  const all = members(1_000_003, 999_983, 1);
  const balancer = new RoundRobinBalancer(all, { cursor: 0 });
  const [first, second, third] = shares(balancer, all, MAX_ROUND);
  expect(first).toBeCloseTo(0.5, 2);
  expect(second).toBeCloseTo(0.5, 2);
  expect(third).toBeGreaterThan(0);
});

it("of two choices the less busy is taken", () => {
  const all = members(1, 1);
  all[0]!.target.endpoint.active = 5;
  const throws = [0.1, 0.9];
  let i = 0;
  expect(new LeastRequestBalancer(all).next(() => throws[i++ % 2]!)).toBe(all[1]!.target);
});

it("with unequal weights, busy is what is busy for its weight", () => {
  const all = members(3, 1);
  all[0]!.target.endpoint.active = 6;
  all[1]!.target.endpoint.active = 2;
  const balancer = new LeastRequestBalancer(all);
  const first = (thrown: readonly number[]) => {
    let i = 0;
    return balancer.next(() => thrown[i++]!);
  };
  // As busy as one another: the first choice stands, whichever it is.
  expect(first([0, 0.9])).toBe(all[0]!.target);
  expect(first([0.9, 0])).toBe(all[1]!.target);
  all[1]!.target.endpoint.active = 3;
  expect(first([0.9, 0])).toBe(all[0]!.target);
});

it("shares of least request hold under load", () => {
  const all = members(3, 1);
  const balancer = new LeastRequestBalancer(all);
  const random = dice(7);
  const inFlight: UpstreamTarget[] = [];
  let heavy = 0;
  for (let i = 0; i < 20_000; i++) {
    const target = balancer.next(random);
    target.endpoint.active++;
    inFlight.push(target);
    if (target === all[0]!.target) heavy++;
    // 64 in flight, answered in any order.
    if (inFlight.length <= 64) continue;
    inFlight.splice(Math.floor(random() * inFlight.length), 1)[0]!.endpoint.active--;
  }
  expect(heavy / 20_000).toBeCloseTo(0.75, 1);
});

it("under load a busy endpoint gets no more than its chance", () => {
  const all = members(1, 1, 1, 1);
  all[2]!.target.endpoint.active = 100;
  // Met only when both choices are it: 1 in 16.
  expect(shares(new LeastRequestBalancer(all), all, 8000)[2]).toBeCloseTo(1 / 16, 1);
});

describe("a retry looks for another endpoint", () => {
  it("in turn, the next", () => {
    const all = members(1, 1, 1);
    const balancer = new RoundRobinBalancer(all, { cursor: 0 });
    expect(pickUntried(balancer, () => 0, 0, undefined, [all[0]!.target.endpoint])).toBe(all[1]!.target);
  });

  it("and takes what it gets after MAX_REPICKS more tries", () => {
    const all = members(1, 1);
    let thrown = 0;
    const random = () => {
      thrown++;
      return 0;
    };
    expect(pickUntried(new RandomBalancer(all), random, 0, undefined, [all[0]!.target.endpoint])).toBe(all[0]!.target);
    expect(thrown).toBe(1 + MAX_REPICKS);
  });
});
