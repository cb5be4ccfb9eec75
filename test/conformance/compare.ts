/** What came out against what was expected, the same for every runner. */
import { expect } from "vitest";
import type { RequestHead } from "../../gateway/core/http/message.ts";
import { fieldJoined } from "../../gateway/core/http/message.ts";
import type { RequestRecord } from "../../gateway/core/ports.ts";
import type { Case, ExpectedRequest } from "./case.ts";

/** What the client and the origins of a case saw. */
export interface Seen {
  readonly upstream: readonly { readonly to: string; readonly head: RequestHead; readonly body: string }[];
  readonly mirrored: readonly string[];
  readonly response: { readonly status: number; readonly fields: readonly string[]; readonly body: string } | undefined;
}

export function compareSeen(test: Case, outcome: Seen): void {
  const { expect: expected } = test;
  const { response } = outcome;
  expect(response?.status, "status").toBe(expected.status);
  const fields = response?.fields ?? [];
  for (const [name, value] of Object.entries(expected.fields ?? {}))
    expect(fieldJoined(fields, name), `response ${name}`).toBe(value);
  for (const name of expected.absent ?? []) expect(fieldJoined(fields, name), `response ${name}`).toBeUndefined();
  if (expected.body !== undefined)
    expect(response?.body).toEqual(typeof expected.body === "string" ? expected.body : expect.stringMatching(expected.body));
  if (expected.upstream !== undefined) {
    expect(
      outcome.upstream.map((sent) => sent.to),
      "attempts",
    ).toHaveLength(expected.upstream.length);
    for (const [i, request] of expected.upstream.entries()) compareRequest(request, outcome.upstream[i]!);
  }
  expect(outcome.mirrored, "mirrored").toEqual(expected.mirrored ?? []);
}

/** What the gateway says about it afterwards. */
export function compareTold(test: Case, record: RequestRecord, tookMs: number): void {
  const { expect: expected } = test;
  if (expected.route !== undefined) expect(record.routeId ?? null, "route").toBe(expected.route);
  if (expected.flags !== undefined) expect(record.flags, "flags").toBe(expected.flags);
  if (expected.rule !== undefined) expect(record.rule, "rule").toBe(expected.rule);
  if (expected.reason !== undefined) expect(record.reason, "reason").toBe(expected.reason);
  if (expected.tookMs !== undefined) expect(tookMs, "took").toBe(expected.tookMs);
}

function compareRequest(expected: ExpectedRequest, sent: Seen["upstream"][number]): void {
  if (expected.to !== undefined) expect(sent.to, "endpoint").toBe(expected.to);
  if (expected.method !== undefined) expect(sent.head.method).toBe(expected.method);
  if (expected.authority !== undefined) expect(sent.head.authority, "authority").toBe(expected.authority);
  if (expected.target !== undefined) expect(sent.head.target, "target").toBe(expected.target);
  if (expected.body !== undefined) expect(sent.body).toBe(expected.body);
  for (const [name, value] of Object.entries(expected.fields ?? {}))
    expect(fieldJoined(sent.head.fields, name), `request ${name}`).toBe(value);
  for (const name of expected.absent ?? []) expect(fieldJoined(sent.head.fields, name), `request ${name}`).toBeUndefined();
}
