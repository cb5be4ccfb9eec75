import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_PLAIN_LINES, PlainGet } from "./plain-get.ts";

const sentBy = (plain: PlainGet, lines: readonly string[]): string[][] | undefined => {
  const request = plain.with(lines);
  return request === undefined ? undefined : [...request.headers];
};

test("a GET that nobody follows for it", () => {
  expect(new PlainGet().with(["a", "1"])).toMatchObject({ method: "GET", redirect: "manual", body: null });
});

test.each([
  ["a name that comes twice", ["a", "1", "b", "2", "a", "3"]],
  ["what is not sent", ["te", "trailers"]],
  ["many lines", Array.from({ length: MAX_PLAIN_LINES + 1 }, (_, i) => [`n${i}`, "v"]).flat()],
])("%s takes more than this", (_, lines) => {
  const plain = new PlainGet();
  expect(sentBy(plain, ["a", "1"])).toEqual([["a", "1"]]);
  expect(plain.with(lines)).toBeUndefined();
  expect(sentBy(plain, ["b", "2"])).toEqual([["b", "2"]]);
});

test("nothing of one request is left in another, whatever breaks off", () => {
  const name = fc.constantFrom("a", "b", "authorization", "via", "x-request-id", "te", "__proto__");
  // A line break makes the runtime throw.
  const value = fc.constantFrom("1", "2", "3", "", "broken\n off");
  const lines = fc.array(fc.tuple(name, value), { maxLength: MAX_PLAIN_LINES + 1 }).map((pairs) => pairs.flat());
  fc.assert(
    fc.property(fc.array(lines, { maxLength: 12 }), (requests) => {
      const plain = new PlainGet();
      for (const asked of requests) {
        const isBroken = asked.some((part) => part.includes("\n"));
        let sent: string[][] | undefined;
        try {
          sent = sentBy(plain, asked);
        } catch (error) {
          expect(isBroken, String(error)).toBe(true);
          continue;
        }
        if (sent === undefined) continue;
        const wanted = new Headers();
        for (let i = 0; i < asked.length; i += 2) wanted.append(asked[i] as string, asked[i + 1] as string);
        expect(sent).toEqual([...wanted]);
      }
    }),
    { numRuns: 2_000 },
  );
});
