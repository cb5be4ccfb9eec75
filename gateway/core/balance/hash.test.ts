import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HashSource } from "../ir/index.ts";
import { HASH_RANGE, hash32, spread } from "./hash.ts";
import { cookieValue, hashRequest } from "./hash-source.ts";
import { buildHashTable, type HashKind, type HashMember, HashTables, hashTableBytes, MAX_RING_PLACES } from "./hash-table.ts";

const KEYS = 20_000;
const PLACES: { readonly [kind in HashKind]: number } = { "ring-hash": 1024, maglev: 65_537 };
const members = (count: number): HashMember[] =>
  Array.from({ length: count }, (_, i) => ({ name: `10.1.${i >> 8}.${i & 255}:8080`, weight: 1 }));

/** Member by name for each of KEYS keys. */
function assignment(kind: HashKind, list: readonly HashMember[], size = PLACES[kind]): string[] {
  const table = buildHashTable(kind, size, list);
  return Array.from({ length: KEYS }, (_, i) => list[table.memberAt(hash32(`user-${i}`))]!.name);
}

const share = (assigned: readonly string[], name: string) => assigned.filter((one) => one === name).length / KEYS;

describe("hash32", () => {
  it("is 32 bits, depends on every unit, and its finalizer gives a second, other number", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 40 }), fc.nat(), (text, at) => {
        const hash = hash32(text);
        expect(Number.isInteger(hash) && hash >= 0 && hash < HASH_RANGE).toBe(true);
        const i = at % text.length;
        const other = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ 1) + text.slice(i + 1);
        expect(hash32(other)).not.toBe(hash);
        expect(spread(hash)).toBeLessThan(HASH_RANGE);
      }),
    );
  });
});

describe.each(["ring-hash", "maglev"] as const)("%s", (kind) => {
  // 512 places of a member on a ring leave a spread of some 4 %; maglev's is about that of the keys.
  const slack = kind === "maglev" ? 0.15 : 0.25;

  it.each([2, 5, 10, 50])("spreads keys over %i members", (count) => {
    const list = members(count);
    const assigned = assignment(kind, list);
    for (const { name } of list) {
      expect(share(assigned, name) * count).toBeGreaterThan(1 - slack);
      expect(share(assigned, name) * count).toBeLessThan(1 + slack);
    }
  });

  it("gives each its weight", () => {
    const list = members(3).map((member, i) => ({ ...member, weight: [1, 2, 5][i]! }));
    const assigned = assignment(kind, list);
    for (const { name, weight } of list) expect(share(assigned, name)).toBeCloseTo(weight / 8, 1);
  });

  it.each([5, 10, 50])("moves about 1/N of the keys when one of %i members goes", (count) => {
    const list = members(count);
    const before = assignment(kind, list);
    for (const gone of [0, Math.floor(count / 2), count - 1]) {
      const rest = list.filter((_, i) => i !== gone);
      const after = assignment(kind, rest);
      const moved = before.filter((name, i) => name !== after[i]).length / KEYS;
      const owned = share(before, list[gone]!.name);
      // The keys of the one that is gone have to move. On a ring no others do; maglev moves a few more.
      expect(moved).toBeGreaterThanOrEqual(owned);
      expect(moved - owned).toBeLessThanOrEqual(kind === "maglev" ? 0.05 : 0);
      expect(owned * count).toBeGreaterThan(1 - slack);
      expect(owned * count).toBeLessThan(1 + slack);
    }
  });

  it("restricted to some members is the table of those", () => {
    const list = members(9);
    const kept = [0, 2, 3, 7];
    const some = kept.map((i) => list[i]!);
    const restricted = buildHashTable(kind, PLACES[kind], list).restrictedTo(kept, some);
    const names = Array.from({ length: KEYS }, (_, i) => some[restricted.memberAt(hash32(`user-${i}`))]!.name);
    expect(names).toEqual(assignment(kind, some));
  });

  it("does not depend on anything but names and weights", () => {
    expect(assignment(kind, members(7))).toEqual(assignment(kind, members(7)));
  });

  it("works with one member and with more members than places", () => {
    expect(new Set(assignment(kind, members(1))).size).toBe(1);
    expect(new Set(assignment(kind, members(9), kind === "maglev" ? 5 : 1)).size).toBeGreaterThan(1);
  });
});

it("a ring has at most MAX_RING_PLACES places, about, and nobody is left out", () => {
  const list = [...members(2), { name: "10.9.9.9:80", weight: 1_000_000 }];
  // 4 bytes of hash and 2 of member.
  expect(hashTableBytes("ring-hash", 4096, list)).toBeLessThanOrEqual((MAX_RING_PLACES + list.length) * 6);
  expect(buildHashTable("ring-hash", 4096, list).memberAt(0)).toBeLessThan(3);
});

describe("tables", () => {
  it("are shared where the endpoints are the same, within a snapshot and with the one before", () => {
    const first = new HashTables(undefined);
    const table = first.of("maglev", 251, members(3));
    expect(first.of("maglev", 251, members(3))).toBe(table);
    expect(first.of("maglev", 251, members(4))).not.toBe(table);
    expect(first.bytes).toBe(2 * 251 * 2);
    first.settle();
    const second = new HashTables(first);
    expect(second.of("maglev", 251, members(3))).toBe(table);
    expect(second.bytes).toBe(251 * 2);
  });
});

describe("what is hashed", () => {
  const request = {
    fields: ["cookie", 'a=1; sid="x y"; b=2', "x-user", "ann"],
    query: "u=ann&u=bob",
    clientAddress: "192.0.2.1",
  };
  const hashOf = (source: HashSource, more: Partial<typeof request> = {}) =>
    hashRequest(source, { ...request, ...more, random: () => 0.5 });

  it.each<[string, HashSource, string | undefined]>([
    ["a header", { kind: "header", name: "x-user" }, "ann"],
    ["an absent header", { kind: "header", name: "x-none" }, undefined],
    ["a cookie, without its quotes", { kind: "cookie", name: "sid" }, "x y"],
    ["an absent cookie that is not to be set", { kind: "cookie", name: "none" }, undefined],
    ["the client's address", { kind: "source-ip" }, "192.0.2.1"],
    ["a query parameter", { kind: "query", name: "u" }, "ann"],
    ["an absent query parameter", { kind: "query", name: "v" }, undefined],
  ])("%s", (_, source, value) => {
    expect(hashOf(source)).toEqual({ hash: value === undefined ? undefined : hash32(value), setCookie: undefined });
  });

  it("an absent cookie is made, and coming back with it leads to the same endpoint", () => {
    const source = { kind: "cookie", name: "lb", path: "/shop", ttlMs: 90_500, attributes: ["SameSite=Lax"] } as const;
    const made = hashOf(source);
    expect(made.setCookie).toBe('lb="8000000080000000"; Max-Age=91; Path=/shop; SameSite=Lax; HttpOnly');
    const [pair] = made.setCookie!.split(";");
    expect(hashOf(source, { fields: ["cookie", pair!] })).toEqual({ hash: made.hash, setCookie: undefined });
  });

  it("a session cookie has no age", () => {
    expect(hashOf({ kind: "cookie", name: "lb", ttlMs: 0 }).setCookie).toBe('lb="8000000080000000"; HttpOnly');
  });

  it("the first of several cookies counts, over several lines", () => {
    expect(cookieValue(["cookie", "a; b=1", "cookie", "c=2; b=3"], "b")).toBe("1");
    expect(cookieValue(["cookie", "a; b=1", "cookie", "c=2; b=3"], "c")).toBe("2");
    expect(cookieValue(["cookie", "ab=1"], "b")).toBeUndefined();
  });
});
