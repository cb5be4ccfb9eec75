import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeAskBatch,
  decodeLeaseAnswers,
  MAX_BATCH_ASKS,
  MAX_ENDED_LEASES,
  MAX_LEASE_ID_CHARS,
  MAX_LEASE_KEY_CHARS,
} from "./lease-messages.ts";
import { MAX_AMOUNT } from "./limit.ts";

const ASK = { id: "h.1", quota: "ns/q", limit: "l", key: "", need: 1, wanted: 2, debt: 0, ended: [{ id: "h.0", unused: 3 }] };
const ANSWER = { id: "h.1", granted: 1, forMs: 250, retryMs: 0, moreMs: 7 };

function problems(asks: unknown): readonly string[] {
  const decoded = decodeAskBatch({ holder: "h", asks });
  return decoded.ok ? [] : decoded.error.map(({ path }) => path);
}

describe("a batch", () => {
  it("is read as it was written, and what else is in it is left out", () => {
    expect(decodeAskBatch({ holder: "h", asks: [{ ...ASK, amount: 1_000_000 }] })).toEqual({
      ok: true,
      value: { holder: "h", asks: [ASK] },
    });
  });

  it("names everything that is wrong with it", () => {
    expect(problems([{ ...ASK, need: -1, wanted: 1.5, debt: MAX_AMOUNT + 1, key: 7, ended: [{}] }, null])).toEqual([
      "asks[0].ended[0].id",
      "asks[0].ended[0].unused",
      "asks[0].key",
      "asks[0].need",
      "asks[0].wanted",
      "asks[0].debt",
      ...["ended", "id", "quota", "limit", "key", "need", "wanted", "debt"].map((name) => `asks[1].${name}`),
    ]);
  });

  it("has bounds on everything", () => {
    expect(problems(Array.from({ length: MAX_BATCH_ASKS }, () => ASK))).toEqual([]);
    expect(problems(Array.from({ length: MAX_BATCH_ASKS + 1 }, () => ASK))).toEqual(["asks"]);
    expect(problems([{ ...ASK, id: "x".repeat(MAX_LEASE_ID_CHARS + 1) }])).toEqual(["asks[0].id"]);
    expect(problems([{ ...ASK, key: "x".repeat(MAX_LEASE_KEY_CHARS + 1) }])).toEqual(["asks[0].key"]);
    expect(problems([{ ...ASK, ended: Array.from({ length: MAX_ENDED_LEASES + 1 }, () => ASK.ended[0]) }])).toEqual([
      "asks[0].ended",
    ]);
  });

  it("is never a reason to throw, and neither is an answer", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        decodeAskBatch(value);
        decodeLeaseAnswers(value);
        decodeAskBatch({ holder: "h", asks: [value] });
        decodeLeaseAnswers({ answers: [value] });
      }),
    );
  });
});

describe("answers", () => {
  it("are read as they were written", () => {
    expect(decodeLeaseAnswers({ answers: [ANSWER, { ...ANSWER, problem: "full" }] })).toEqual({
      ok: true,
      value: [ANSWER, { ...ANSWER, problem: "full" }],
    });
    expect(decodeLeaseAnswers({ answers: [{ ...ANSWER, granted: "all" }] })).toMatchObject({
      error: [{ path: "answers[0].granted" }],
    });
  });
});
