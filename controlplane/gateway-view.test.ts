import { describe, expect, test } from "vitest";
import type { GatewayStatus, SessionState } from "./distribute/index.ts";
import { gatewayView } from "./gateway-view.ts";

const v = (version: number) => ({ epoch: 1, version });
const busy = { code: "partly", problems: [{ name: "127.0.0.1:80", reason: "is in use" }] };

function gateway(state: SessionState, connected = true): GatewayStatus {
  return { id: "gw-1", pool: "ingress", connected, state, lastSeenMs: 7, software: "x", endpoints: [] };
}

describe("a gateway as an operator sees it", () => {
  test.each<[string, SessionState, ReturnType<typeof v> | undefined, string, string | undefined, string[]]>([
    ["before hello", { kind: "awaiting-hello" }, v(2), "waiting", undefined, []],
    [
      "no snapshot",
      { kind: "idle", held: undefined, sinceMs: 5 },
      undefined,
      "waiting",
      undefined,
      ["its pool has no snapshot yet"],
    ],
    ["offered", { kind: "offered", offered: v(2), held: v(1), sinceMs: 5 }, v(2), "pending", "1.1", ["was offered 1.2"]],
    ["synced", { kind: "synced", held: v(2), sinceMs: 5 }, v(2), "synced", "1.2", []],
    ["an older one", { kind: "synced", held: v(1), sinceMs: 5 }, v(2), "pending", "1.1", []],
    [
      "without one of its ports",
      { kind: "synced", held: v(2), sinceMs: 5, problems: busy },
      v(2),
      "partial",
      "1.2",
      ["127.0.0.1:80: is in use"],
    ],
    [
      "refused",
      {
        kind: "refused",
        refused: v(2),
        held: v(1),
        sinceMs: 5,
        detail: { code: "bad_signature", problems: [{ name: "snapshot", reason: "forged" }] },
      },
      v(2),
      "refused",
      "1.1",
      ["refused 1.2 (bad_signature)", "snapshot: forged"],
    ],
  ])("%s", (_, state, latest, seen, version, reasons) => {
    expect(gatewayView(gateway(state), latest)).toMatchObject({ state: seen, version, reasons });
  });

  test("since when: the state's own time; for one that is gone, when it was last seen", () => {
    const state: SessionState = { kind: "synced", held: v(1), sinceMs: 5 };
    expect(gatewayView(gateway(state), v(1)).sinceMs).toBe(5);
    expect(gatewayView(gateway(state, false), v(1))).toMatchObject({ state: "disconnected", version: "1.1", sinceMs: 7 });
  });
});
