import fc from "fast-check";
import { expect, test } from "vitest";
import { formatJoinToken, type JoinToken, MAX_JOIN_TOKEN_CHARS, parseJoinToken } from "./join-token.ts";

const token: JoinToken = {
  id: "t1",
  secret: "s3cret-value",
  pool: "ingress",
  ca: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
  rootHash: "abc",
  floor: { epoch: 1, version: 7 },
  expires: 1_800_000_000,
};

test("what is formatted is parsed back, with white space around it", () => {
  expect(parseJoinToken(`\n ${formatJoinToken(token)}\n`)).toEqual({ ok: true, value: token });
});

test("refusals name the problem and never the secret", () => {
  const cases = [
    ["", 'starts with "tg1."'],
    ["tg1.", "damaged"],
    ["tg1.%%%", "damaged"],
    [formatJoinToken(token).slice(0, 40), "damaged"],
    [`tg1.${"A".repeat(MAX_JOIN_TOKEN_CHARS)}`, "longer than"],
  ] as const;
  for (const [text, problem] of cases) {
    const parsed = parseJoinToken(text);
    expect(parsed.ok).toBe(false);
    const told = JSON.stringify(parsed);
    expect(told).toContain(JSON.stringify(problem).slice(1, -1));
    expect(told).not.toContain("s3cret");
  }
});

test("the longest token allowed is read", () => {
  const padded = `${formatJoinToken(token)}${" ".repeat(10)}`;
  expect(padded.length).toBeLessThan(MAX_JOIN_TOKEN_CHARS);
  expect(parseJoinToken(padded).ok).toBe(true);
});

test("every missing field is named at once", () => {
  const parsed = parseJoinToken(formatJoinToken({} as JoinToken));
  expect(parsed.ok ? [] : parsed.error.map((issue) => issue.path)).toEqual([
    "joinToken.id",
    "joinToken.secret",
    "joinToken.pool",
    "joinToken.ca",
    "joinToken.rootHash",
    "joinToken.floor.epoch",
    "joinToken.floor.version",
    "joinToken.expires",
  ]);
});

test("never throws, whatever the text", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseJoinToken(text);
      parseJoinToken(`tg1.${text}`);
      parseJoinToken(`tg1.${btoa(unescape(encodeURIComponent(text)))}`);
    }),
  );
});
