import { beforeEach, describe, expect, test } from "vitest";
import { Enrolment } from "./enrolment.ts";

let now = 0;
let enrolment: Enrolment;
beforeEach(() => {
  now = 1_000_000;
  enrolment = new Enrolment(":memory:", () => now);
});

function enrolled(id: string, token: { id: string; secret: string }): string {
  const outcome = enrolment.enrol(id, token.id, token.secret);
  if (outcome.kind !== "enrolled") throw new Error(outcome.reason);
  return outcome.credential;
}

describe("enrolment", () => {
  test("a token makes a credential bound to the token's pool", () => {
    const credential = enrolled("gw-1", enrolment.issueToken("ingress", 1000, 1));
    expect(enrolment.authenticate(credential)).toEqual({ id: "gw-1", pool: "ingress" });
    expect(enrolment.authenticate(`${credential}x`)).toBeUndefined();
    expect(enrolment.list()).toMatchObject([{ id: "gw-1", pool: "ingress", enrolledMs: now, held: undefined }]);
  });

  test("a token is refused when it is wrong, used up or expired, and says which", () => {
    const token = enrolment.issueToken("ingress", 1000, 1);
    expect(enrolment.enrol("gw-1", token.id, "wrong")).toMatchObject({
      kind: "refused",
      reason: expect.stringContaining("unknown join token"),
    });
    expect(enrolment.enrol("gw-1", "none", token.secret)).toMatchObject({
      reason: expect.stringContaining("unknown join token"),
    });
    enrolled("gw-1", token);
    expect(enrolment.enrol("gw-2", token.id, token.secret)).toMatchObject({ reason: expect.stringContaining("used up") });
    const late = enrolment.issueToken("ingress", 1000, 1);
    now += 1001;
    expect(enrolment.enrol("gw-3", late.id, late.secret)).toMatchObject({ reason: expect.stringContaining("expired") });
  });

  test("enrolling again replaces the credential; another pool cannot take the id over", () => {
    const token = enrolment.issueToken("ingress", 1000, 2);
    const first = enrolled("gw-1", token);
    const second = enrolled("gw-1", token);
    expect(enrolment.authenticate(first)).toBeUndefined();
    expect(enrolment.authenticate(second)).toEqual({ id: "gw-1", pool: "ingress" });
    const egress = enrolment.issueToken("egress", 1000, 1);
    expect(enrolment.enrol("gw-1", egress.id, egress.secret)).toMatchObject({
      reason: expect.stringContaining("belongs to pool ingress"),
    });
  });

  test("odd gateway ids are refused", () => {
    const token = enrolment.issueToken("ingress", 1000, 9);
    for (const id of ["", "A", "-a", "a b", "a\n", "a".repeat(129)]) {
      expect(enrolment.enrol(id, token.id, token.secret)).toMatchObject({
        kind: "refused",
        reason: expect.stringContaining("gateway id"),
      });
    }
  });

  test("what a gateway held is remembered, and a removed gateway is unknown", () => {
    const credential = enrolled("gw-1", enrolment.issueToken("ingress", 1000, 1));
    enrolment.seen("gw-1", { epoch: 1, version: 4 });
    enrolment.seen("gw-1", undefined);
    expect(enrolment.list()[0]?.held).toEqual({ epoch: 1, version: 4 });
    expect(enrolment.remove("gw-1")).toBe(true);
    expect(enrolment.authenticate(credential)).toBeUndefined();
    expect(enrolment.remove("gw-1")).toBe(false);
  });

  test("no secret is stored", () => {
    const token = enrolment.issueToken("ingress", 1000, 1);
    const credential = enrolled("gw-1", token);
    expect(JSON.stringify(enrolment.list())).not.toContain(credential);
  });
});
