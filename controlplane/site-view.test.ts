import { describe, expect, test } from "vitest";
import type { SessionState, SiteKnowledge, SiteStatus } from "./distribute/index.ts";
import { siteAnswered, siteView } from "./site-view.ts";

const v = (version: number) => ({ epoch: 1, version });
const PIN = "p".repeat(43);
const hello = {
  type: "hello",
  protocol: 1,
  site: "europe",
  audience: "edge-eu",
  pin: PIN,
  rootVersion: 1,
  enforced: false,
  readerVersion: 1,
  software: "tidegate-edge/1",
} as const;

function site(state: SessionState, known: Partial<SiteKnowledge> = {}, change: Partial<SiteStatus> = {}): SiteStatus {
  return {
    name: "europe",
    url: "https://edge-eu.example.com",
    pool: "edge-eu",
    connection: { via: "websocket", sinceMs: 3 },
    lastError: undefined,
    lastSeenMs: 9,
    known: { state, hello, acceptedMs: 4, enforced: undefined, late: undefined, deferred: undefined, ...known },
    ...change,
  };
}

const synced: SessionState = { kind: "synced", held: v(2), sinceMs: 5 };
const refused = (code: string): SessionState => ({
  kind: "refused",
  refused: v(2),
  held: v(1),
  sinceMs: 5,
  detail: { code, problems: [{ name: "snapshot", reason: "said so" }] },
});

describe("a site as an operator sees it", () => {
  test.each<[string, SiteStatus, string, readonly string[]]>([
    ["before hello", site({ kind: "awaiting-hello" }), "waiting", []],
    ["offered", site({ kind: "offered", offered: v(2), held: v(1), sinceMs: 5 }), "pending", ["was offered 1.2"]],
    [
      "held back for its rollout",
      site({ kind: "offered", offered: v(2), held: v(1), sinceMs: 5 }, { deferred: { snapshot: v(2), notBeforeS: 0 } }),
      "pending",
      ["holds 1.2 back: its rollout, from 1970-01-01T00:00:00.000Z, has not reached the site"],
    ],
    ["accepted, and not yet in force at its isolates", site(synced), "pending", ["accepted; its isolates take it over now"]],
    ["in force", site(synced, { enforced: v(2) }), "synced", []],
    [
      "in force but for an isolate",
      site(synced, { enforced: v(2), late: { watchers: 3, returned: 2 } }),
      "synced",
      ["1 of 3 isolates did not come back with it in time"],
    ],
    ["an older one", site({ ...synced, held: v(1) }, { enforced: v(1) }), "pending", []],
    ["refused", site(refused("rollback")), "refused", ["refused 1.2 (rollback)", "snapshot: said so"]],
    [
      "reader too old",
      site(refused("reader_too_old")),
      "refused",
      [
        "reader too old: its Worker reads snapshots of format 1, this control plane writes 1; deploy the Worker of this release",
        "refused 1.2 (reader_too_old)",
        "snapshot: said so",
      ],
    ],
    [
      "wrong root",
      site(refused("root_pin"), { hello: { ...hello, pin: "q" } }),
      "refused",
      [
        `wrong root: the site is deployed with TRUST_ROOT q, this control plane's is ${PIN}; deploy it with that`,
        "refused 1.2 (root_pin)",
        "snapshot: said so",
      ],
    ],
    [
      "wrong audience",
      site(refused("wrong_audience"), { hello: { ...hello, audience: "edge-us" } }),
      "refused",
      [
        "wrong audience: the site is deployed with AUDIENCE edge-us, its EdgeSite says edge-eu; make them the same",
        "refused 1.2 (wrong_audience)",
        "snapshot: said so",
      ],
    ],
    [
      "another name",
      site(synced, { enforced: v(2), hello: { ...hello, site: "asia" } }),
      "synced",
      ["the site is deployed with SITE asia, its EdgeSite is called europe; make them the same"],
    ],
    [
      "unreachable",
      site(synced, { enforced: v(2) }, { connection: undefined, lastError: "the site refuses the relay token" }),
      "disconnected",
      ["the site refuses the relay token"],
    ],
  ])("%s", (_name, status, state, reasons) => {
    expect(siteView(status, v(2), PIN)).toMatchObject({ kind: "site", state, reasons });
  });

  test("its pool has no snapshot yet", () => {
    const waiting = site({ kind: "idle", held: undefined, sinceMs: 5 });
    expect(siteView(waiting, undefined, PIN)).toMatchObject({
      state: "waiting",
      version: undefined,
      reasons: ["its pool has no snapshot yet"],
    });
  });

  test("what it holds, since when, how it is connected", () => {
    expect(siteView(site(synced, { enforced: v(1) }), v(2), PIN)).toMatchObject({
      id: "europe",
      pool: "edge-eu",
      version: "1.2",
      sinceMs: 5,
      software: "tidegate-edge/1",
      site: { url: "https://edge-eu.example.com", via: "websocket", connectedMs: 3, acceptedMs: 4, enforced: "1.1" },
    });
    expect(siteView(site(synced, {}, { connection: undefined }), v(2), PIN).sinceMs).toBe(9);
    expect(siteView(site({ kind: "awaiting-hello" }), v(2), PIN).sinceMs).toBe(3);
  });
});

describe("whether it has answered", () => {
  test.each<[string, SiteStatus, boolean]>([
    ["accepted is not in force", site(synced), false],
    ["in force", site(synced, { enforced: v(2) }), true],
    ["an older one in force", site(synced, { enforced: v(1) }), false],
    ["refused", site(refused("rollback")), true],
    [
      "refused an older one",
      site({ ...(refused("rollback") as Extract<SessionState, { kind: "refused" }>), refused: v(1) }),
      false,
    ],
    ["offered", site({ kind: "offered", offered: v(2), held: v(1), sinceMs: 5 }, { enforced: v(1) }), false],
  ])("%s", (_name, status, answered) => {
    expect(siteAnswered(status, v(2))).toBe(answered);
  });
});
