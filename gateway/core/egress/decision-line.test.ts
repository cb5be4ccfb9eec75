import { describe, expect, it } from "vitest";
import { decisionLine } from "./decision-line.ts";
import type { EgressDecisionRecord } from "./ports.ts";

describe("decisionLine", () => {
  const record: EgressDecisionRecord = {
    unixMs: 1_700_000_000_000,
    snapshotVersion: "1.7",
    listener: "0.0.0.0:3128",
    peer: { address: "192.0.2.1", port: 1 },
    user: undefined,
    service: undefined,
    kind: "connect",
    method: "CONNECT",
    authority: 'x"\n.example.com:443',
    verdict: "deny",
    code: "no_rule",
    rule: undefined,
    reason: "no rule",
    wouldDeny: undefined,
    learned: undefined,
    address: undefined,
    openedBy: undefined,
    status: 403,
  };

  it("writes one line of JSON per decision, without what is not known", () => {
    const line = decisionLine(record);
    expect(line).not.toContain("\n");
    expect(JSON.parse(line)).toEqual({
      log: "egress",
      time: "2023-11-14T22:13:20.000Z",
      snapshot: "1.7",
      listener: "0.0.0.0:3128",
      client: "192.0.2.1",
      kind: "connect",
      method: "CONNECT",
      authority: 'x"\n.example.com:443',
      verdict: "deny",
      code: "no_rule",
      reason: "no rule",
      status: 403,
    });
  });

  it("says what would have been denied, by whom, and what was dialled", () => {
    const wouldDeny = { code: "no_rule", rule: "a/b", reason: "why" };
    const line = decisionLine({
      ...record,
      verdict: "report",
      user: "payments",
      rule: "a/b",
      wouldDeny,
      address: "192.0.2.9:443",
      openedBy: "a/b#c",
    });
    const expected = { user: "payments", rule: "a/b", would_deny: wouldDeny, address: "192.0.2.9:443", opened_by: "a/b#c" };
    expect(JSON.parse(line)).toMatchObject(expected);
  });

  it("says which Worker called, and what a rule would have to list", () => {
    const learned = { host: "api.example.com", port: 443, protocol: "https", method: "GET", path: "/v1/x" } as const;
    const line = decisionLine({ ...record, verdict: "learn", service: "checkout", learned });
    expect(JSON.parse(line)).toMatchObject({ verdict: "learn", service: "checkout", learned });
  });
});
