import fc from "fast-check";
import { expect, test } from "vitest";
import type { ReadonlyFieldList } from "../core/index.ts";
import type { ClientAddressField } from "./env.ts";
import { readRequest } from "./request-head.ts";
import { changedInit, sentInit } from "./sent-fields.ts";

test("what the platform says itself does not go along", () => {
  expect(sentInit(["te", "x", "a", "1", "expect", "y"])).toEqual({ a: "1" });
  expect([...new Headers(sentInit(["set-cookie", "a=1", "te", "x", "set-cookie", "b=2"]))]).toEqual([
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
  ]);
});

/** Enough to be worth a copy. */
const OTHERS = ["y-a", "1", "y-b", "2", "y-c", "3", "y-d", "4"];

/** What of `lines` is sent, by both ways. @param change what core does with the fields that were read */
function bothWays(
  lines: ReadonlyFieldList,
  change: (fields: ReadonlyFieldList) => ReadonlyFieldList,
  from: ClientAddressField = "x-forwarded-for",
): readonly [changed: string[][], made: string[][]] {
  const headers = new Headers();
  for (let i = 0; i < lines.length; i += 2) headers.append(lines[i] as string, lines[i + 1] as string);
  const cf = { clientIp: "127.0.0.1:1" };
  const came = readRequest({ url: "http://a.test/", method: "GET", headers, cf, body: null } as unknown as Request, from);
  if (came === undefined) throw new Error("not read");
  const sent = change(came.head.fields);
  return [[...new Headers(changedInit(headers, came, sent))], [...new Headers(sentInit(sent))]];
}

test.each([
  ["framing, Host and Connection", ["host", "a.test", "connection", "close", "content-length", "3", ...OTHERS]],
  [
    "transfer coding and what is for this hop",
    ["transfer-encoding", "chunked", "te", "trailers", "expect", "100-continue", ...OTHERS],
  ],
] as const)("%s of what came are not sent on", (_, lines) => {
  const [changed, made] = bothWays(lines, (fields) => fields);
  expect(changed.flat()).toEqual(OTHERS);
  expect(made).toEqual(changed);
});

test("the address that Cloudflare has put into X-Forwarded-For is not sent twice", () => {
  const lines = ["cf-connecting-ip", "192.0.2.1", "x-forwarded-for", "203.0.113.5, 192.0.2.1", ...OTHERS];
  const grown = (fields: ReadonlyFieldList): ReadonlyFieldList => {
    const at = fields.indexOf("x-forwarded-for");
    return [...fields.toSpliced(at, 2), "x-forwarded-for", `${fields[at + 1]}, 192.0.2.1`];
  };
  const [changed, made] = bothWays(lines, grown, "cf-connecting-ip");
  expect(Object.fromEntries(changed)["x-forwarded-for"]).toBe("203.0.113.5, 192.0.2.1");
  expect(changed).toEqual(made);
  const alone = bothWays(lines.with(3, "192.0.2.1"), (fields) => fields, "cf-connecting-ip");
  expect(alone[0].flat()).toEqual(["cf-connecting-ip", "192.0.2.1", ...OTHERS]);
});

test("what core does to its own list is no news about what came", () => {
  const counted = (fields: ReadonlyFieldList): ReadonlyFieldList => Object.assign(fields, { 1: "0" });
  const lines = ["max-forwards", "1", "x-a", "1", "x-b", "2", "x-c", "3"];
  expect(bothWays(lines, counted)[0].flat()).toEqual(lines.with(1, "0"));
});

test("to change what came and to make it anew come to the same", () => {
  const name = fc.constantFrom(
    ...["accept", "x-a", "x-b", "cookie", "set-cookie", "via", "x-forwarded-for", "te", "expect", "upgrade"],
    ...["host", "connection", "content-length", "transfer-encoding", "authorization", "__proto__", "cf-connecting-ip"],
  );
  const value = fc.constantFrom("1", "2", "a, b", "192.0.2.1", "192.0.2.7, 192.0.2.1");
  const lines = fc.array(fc.tuple(name, value), { maxLength: 20 }).map((pairs) => pairs.flat());
  const own = fc.constantFrom("x-a", "x-b", "via", "x-forwarded-for", "cookie", "te", "upgrade", "__proto__", "x-own");
  const added = fc.array(fc.tuple(own, value), { maxLength: 5 }).map((pairs) => pairs.flat());
  const from = fc.constantFrom<ClientAddressField>("x-forwarded-for", "cf-connecting-ip");
  fc.assert(
    fc.property(lines, fc.uniqueArray(name), added, from, (came, dropped, more, by) => {
      const edit = (fields: ReadonlyFieldList) => [
        ...fields.filter((_, i) => !dropped.includes(fields[i - (i % 2)] as string)),
        ...more,
      ];
      const [changed, made] = bothWays(came, edit, by);
      expect(changed).toEqual(made);
    }),
    { numRuns: 2_000 },
  );
});
