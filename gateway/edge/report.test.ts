import { expect, test } from "vitest";
import type { RequestRecord } from "../core/index.ts";
import { DEFAULT_SETTINGS } from "../core/ir/index.ts";
import { EdgeReporter, type PlacedPeer } from "./report.ts";

const record = (status: number, flags: string, peer: PlacedPeer = { address: "192.0.2.1", port: 0 }): RequestRecord => ({
  snapshotVersion: "1.1",
  listener: "0.0.0.0:443",
  method: "GET",
  authority: "shop.example.com",
  target: "/",
  scheme: "https",
  protocol: "HTTP/1.1",
  peer,
  fields: [],
  routeId: "r",
  clusterName: undefined,
  endpoint: undefined,
  status,
  flags,
  rule: undefined,
  reason: undefined,
  attempts: 1,
  startedMs: 900,
  requestBytes: 0,
  responseBytes: 2,
  durationMs: 100,
  upstreamMs: 50,
});

function bench() {
  const lines: string[] = [];
  const reporter = new EdgeReporter({ now: () => 1_000, unixMs: () => Date.UTC(2026, 0, 1, 0, 0, 1) }, (line) =>
    lines.push(line),
  );
  return { reporter, lines };
}

test("one JSON line per request, timed from its beginning, with the client's place where it is known", () => {
  const { reporter, lines } = bench();
  reporter.request(record(200, "-"));
  reporter.request(record(200, "-", { address: "192.0.2.1", port: 0, place: { country: "CH", colo: "ZRH", asn: null } }));
  expect(lines.every((line) => !line.includes("\n"))).toBe(true);
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { time: "2026-01-01T00:00:00.900Z", status: 200, route: "r", snapshot: "1.1" },
    { place: { country: "CH", colo: "ZRH", asn: null } },
  ]);
});

test("a snapshot may turn the log off, never the counts", () => {
  const { reporter, lines } = bench();
  reporter.configure({ ...DEFAULT_SETTINGS, accessLog: { enabled: false, path: "-" } });
  for (const [status, flags] of [
    [200, "-"],
    [200, "-"],
    [429, "RL"],
  ] as const)
    if (!reporter.counted(status, flags)) reporter.request(record(status, flags));
  reporter.quotaMeter("shop/daily").count("refused");
  reporter.quotaMeter("shop/daily").count("refused");
  expect(lines).toEqual([]);
  expect(reporter.stats()).toEqual({
    requests: { 200: 2, 429: 1 },
    flags: { RL: 1 },
    quotas: { "shop/daily": { refused: 2 } },
  });
});
