import { describe, expect, it } from "vitest";
import type { EgressDecisionRecord } from "../core/index.ts";
import { TunnelCaps } from "./egress.ts";
import { JsonDecisionLog } from "./egress-log.ts";

const peer = (address: string) => ({ address, port: 1 });

describe("TunnelCaps", () => {
  it("bounds all tunnels and each client's, and gives places back", () => {
    const caps = new TunnelCaps(3, 2);
    expect([caps.acquire(peer("a")), caps.acquire(peer("a")), caps.acquire(peer("a"))]).toEqual([true, true, false]);
    expect([caps.acquire(peer("b")), caps.acquire(peer("b"))]).toEqual([true, false]);
    caps.release(peer("a"));
    expect(caps.open).toBe(2);
    expect(caps.acquire(peer("b"))).toBe(true);
    for (const address of ["a", "b", "b"]) caps.release(peer(address));
    expect(caps.open).toBe(0);
  });
});

describe("JsonDecisionLog", () => {
  const record: EgressDecisionRecord = {
    unixMs: 1_700_000_000_000,
    snapshotVersion: "1.7",
    listener: "0.0.0.0:3128",
    peer: peer("192.0.2.1"),
    user: undefined,
    kind: "connect",
    method: "CONNECT",
    authority: 'x"\n.example.com:443',
    verdict: "deny",
    code: "no_rule",
    rule: undefined,
    reason: "no rule",
    wouldDeny: undefined,
    address: undefined,
    openedBy: undefined,
    status: 403,
  };

  it("writes one line of JSON per decision, without what is not known", () => {
    const lines: string[] = [];
    new JsonDecisionLog((line) => lines.push(line)).decided(record);
    expect(lines.length).toBe(1);
    expect(lines[0]!.indexOf("\n")).toBe(lines[0]!.length - 1);
    expect(JSON.parse(lines[0]!)).toEqual({
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
    const lines: string[] = [];
    const wouldDeny = { code: "no_rule", rule: "a/b", reason: "why" };
    new JsonDecisionLog((line) => lines.push(line)).decided({
      ...record,
      verdict: "report",
      user: "payments",
      rule: "a/b",
      wouldDeny,
      address: "192.0.2.9:443",
      openedBy: "a/b#c",
    });
    const expected = { user: "payments", rule: "a/b", would_deny: wouldDeny, address: "192.0.2.9:443", opened_by: "a/b#c" };
    expect(JSON.parse(lines[0]!)).toMatchObject(expected);
  });
});
