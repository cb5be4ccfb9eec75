import { describe, expect, it } from "vitest";
import type { NameAnswer } from "../../core/index.ts";
import {
  type Answer,
  FAILURE_WAIT_MS,
  MAX_ADDRESSES,
  MAX_ASKING,
  MAX_FAILURE_WAIT_MS,
  MAX_TTL_MS,
  MIN_TTL_MS,
  NameResolver,
  SYSTEM_TTL_MS,
} from "./dns.ts";
import { hostsNames, type SystemParts, systemAsk } from "./dns-system.ts";

/** A resolver whose questions and timers the test answers and fires itself. */
function scripted(random = 0) {
  const asked: { name: string; answer: (answer: Answer | Error) => Promise<void> }[] = [];
  const timers: { delayMs: number; run: () => void; off: boolean }[] = [];
  const told: [string, NameAnswer][] = [];
  const resolver = new NameResolver({
    ask: (name) =>
      new Promise((resolve, reject) => {
        const answer = async (given: Answer | Error) => {
          if (given instanceof Error) reject(given);
          else resolve(given);
          for (let i = 0; i < 5; i++) await Promise.resolve();
        };
        asked.push({ name, answer });
      }),
    random: () => random,
    arm: (delayMs, run) => {
      const timer = { delayMs, run, off: false };
      timers.push(timer);
      return () => {
        timer.off = true;
      };
    },
    changed: (name, answer) => told.push([name, answer]),
  });
  return { resolver, asked, timers, told };
}

const found = (ttlMs: number, ...addresses: string[]): Answer => ({ addresses, ttlMs });

describe("a name", () => {
  it("is asked for once, and again when its time to live is over", async () => {
    const { resolver, asked, timers, told } = scripted(0.5);
    resolver.follow(new Set(["a.test"]));
    resolver.follow(new Set(["a.test"]));
    expect(asked).toHaveLength(1);
    await asked[0]!.answer(found(20_000, "10.0.0.1", "10.0.0.1", "::1"));
    expect(told).toEqual([["a.test", { kind: "addresses", addresses: ["10.0.0.1", "::1"] }]]);
    expect(timers.map(({ delayMs }) => delayMs)).toEqual([21_000]);
    timers[0]!.run();
    await asked[1]!.answer(found(20_000, "10.0.0.1", "::1"));
    // No news is not told.
    expect(told).toHaveLength(1);
    timers[1]!.run();
    await asked[2]!.answer(found(20_000, "10.0.0.2"));
    expect(told[1]).toEqual(["a.test", { kind: "addresses", addresses: ["10.0.0.2"] }]);
  });

  it.each([
    [0, MIN_TTL_MS],
    [86_400_000, MAX_TTL_MS],
  ])("that holds for %i ms is asked for again after %i", async (ttlMs, waitMs) => {
    const { resolver, asked, timers } = scripted();
    resolver.follow(new Set(["a.test"]));
    await asked[0]!.answer(found(ttlMs, "10.0.0.1"));
    expect(timers[0]!.delayMs).toBe(waitMs);
  });

  it("that fails keeps its last addresses, and is asked for less and less", async () => {
    const { resolver, asked, timers, told } = scripted();
    resolver.follow(new Set(["a.test"]));
    await asked[0]!.answer(found(20_000, "10.0.0.1"));
    for (let i = 0; i < 8; i++) {
      timers.at(-1)!.run();
      await asked.at(-1)!.answer(i === 2 ? found(0) : new Error("ESERVFAIL"));
    }
    expect(told).toHaveLength(1);
    expect(resolver.get("a.test")).toEqual({ kind: "addresses", addresses: ["10.0.0.1"] });
    expect(timers.slice(1).map(({ delayMs }) => delayMs)).toEqual([
      ...[0, 1, 2, 3, 4, 5].map((i) => FAILURE_WAIT_MS * 2 ** i),
      MAX_FAILURE_WAIT_MS,
      MAX_FAILURE_WAIT_MS,
    ]);
  });

  it("that never resolved has failed, with the reason, until it does", async () => {
    const { resolver, asked, timers, told } = scripted();
    resolver.follow(new Set(["a.test"]));
    await asked[0]!.answer(new Error("ENOTFOUND"));
    timers[0]!.run();
    await asked[1]!.answer(found(9_000, "10.0.0.1"));
    expect(told.map(([, answer]) => answer)).toEqual([
      { kind: "failed", reason: "ENOTFOUND" },
      { kind: "addresses", addresses: ["10.0.0.1"] },
    ]);
  });

  it("that nobody follows any more is forgotten, answer and timer", async () => {
    const { resolver, asked, timers, told } = scripted();
    resolver.follow(new Set(["a.test", "b.test"]));
    await asked[0]!.answer(found(9_000, "10.0.0.1"));
    resolver.follow(new Set());
    await asked[1]!.answer(found(9_000, "10.0.0.2"));
    expect(timers.map(({ off }) => off)).toEqual([true]);
    expect(told).toHaveLength(1);
    expect(resolver.answers()).toEqual([]);
  });

  it(`has at most MAX_ADDRESSES (${MAX_ADDRESSES}) addresses`, async () => {
    const { resolver, asked } = scripted();
    resolver.follow(new Set(["a.test"]));
    const many = Array.from({ length: MAX_ADDRESSES + 5 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
    await asked[0]!.answer(found(9_000, ...many));
    expect(resolver.get("a.test")).toEqual({ kind: "addresses", addresses: many.slice(0, MAX_ADDRESSES) });
  });
});

it(`MAX_ASKING (${MAX_ASKING}) names are asked for at the same time, the rest in turn`, async () => {
  const { resolver, asked } = scripted();
  resolver.follow(new Set(Array.from({ length: MAX_ASKING + 3 }, (_, i) => `n${i}.test`)));
  expect(asked).toHaveLength(MAX_ASKING);
  await asked[0]!.answer(new Error("ETIMEOUT"));
  expect(asked).toHaveLength(MAX_ASKING + 1);
});

describe("who is asked", () => {
  const refuse = (code: string) => () => Promise.reject(Object.assign(new Error("no"), { code }));
  const parts: SystemParts = {
    records: (_, family) =>
      Promise.resolve(
        family === 4
          ? [
              { address: "192.0.2.2", ttl: 60 },
              { address: "192.0.2.1", ttl: 30 },
            ]
          : [{ address: "2001:db8::1", ttl: 90 }],
      ),
    system: () => Promise.resolve(["127.0.0.1", "::1"]),
    hosts: () => Promise.resolve(new Set(["in.hosts"])),
    families: () => new Set([4, 6]),
  };

  it("the name servers, for both families; the shortest time to live counts", async () => {
    expect(await systemAsk(parts)("a.test")).toEqual({ addresses: ["192.0.2.1", "192.0.2.2", "2001:db8::1"], ttlMs: 30_000 });
  });

  it.each(["localhost", "in.hosts"])("the system, for %s", async (name) => {
    expect(await systemAsk(parts)(name)).toEqual({ addresses: ["127.0.0.1", "::1"], ttlMs: SYSTEM_TTL_MS });
  });

  it("a family that fails does not spoil the other", async () => {
    const records: SystemParts["records"] = (name, family) => (family === 6 ? refuse("ETIMEOUT")() : parts.records(name, 4));
    expect((await systemAsk({ ...parts, records })("a.test")).addresses).toEqual(["192.0.2.1", "192.0.2.2"]);
  });

  it("both failed: the reason that says more", async () => {
    const records: SystemParts["records"] = (_, family) => refuse(family === 4 ? "ENODATA" : "ESERVFAIL")();
    await expect(systemAsk({ ...parts, records })("a.test")).rejects.toThrow("ESERVFAIL");
    await expect(systemAsk({ ...parts, records: refuse("ENOTFOUND") })("a.test")).rejects.toThrow("ENOTFOUND");
  });

  it("addresses of a family that the machine lacks are left out, unless there are no others", async () => {
    const four = { ...parts, families: () => new Set([4] as const) };
    expect((await systemAsk(four)("a.test")).addresses).toEqual(["192.0.2.1", "192.0.2.2"]);
    const six: SystemParts["records"] = (_, family) => (family === 4 ? refuse("ENODATA")() : parts.records("", 6));
    expect((await systemAsk({ ...four, records: six })("a.test")).addresses).toEqual(["2001:db8::1"]);
    expect((await systemAsk({ ...parts, families: () => new Set() })("a.test")).addresses).toHaveLength(3);
  });

  it("hosts(5) is read for its names", () => {
    expect([...hostsNames("127.0.0.1 localhost\n# 10.0.0.1 no.test\n::1\tIP6-localhost  b.test # c.test\n\n")]).toEqual([
      "localhost",
      "ip6-localhost",
      "b.test",
    ]);
  });
});
