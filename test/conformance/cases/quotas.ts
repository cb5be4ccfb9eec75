import type { QuotaPolicy, Snapshot } from "../../../gateway/core/ir/index.ts";
import { exact, prefix, quotaPolicy, route, snapshot, virtualHost } from "../build.ts";
import type { Case } from "../case.ts";

const quota = (id: string, amount: number, more: Partial<QuotaPolicy> = {}): QuotaPolicy =>
  quotaPolicy(`demo/${id}`, [{ name: "all", amount, perMs: 60_000, window: "rolling" }], {
    id,
    onStoreFailure: { kind: "allow" },
    headers: "legacy",
    ...more,
  });
const mesh = (quotas: readonly QuotaPolicy[], on: { table?: string[]; host?: string[]; route?: string[] }): Snapshot =>
  snapshot(
    [
      virtualHost(["shop.example.com"], [route("r", [{ path: prefix("/a") }], { quotas: on.route ?? [] })], {
        quotas: on.host ?? [],
      }),
    ],
    {
      quotas,
      tableQuotas: on.table ?? [],
    },
  );
const zero = quota("q", 0);

export const quotas: readonly Case[] = [
  {
    name: "within the quota",
    snapshot: mesh([quota("q", 5)], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 200, fields: { "x-ratelimit-limit": "5", "x-ratelimit-remaining": "4" } },
  },
  {
    name: "over the quota",
    snapshot: mesh([zero], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 429, upstream: [], flags: "RL", rule: "q#all", route: "r" },
  },
  {
    name: "the quota's own status and body",
    snapshot: mesh([quota("q", 0, { response: { status: 503, body: "later" } })], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 503, body: "later", flags: "RL" },
  },
  {
    name: "of the virtual host",
    snapshot: mesh([zero], { host: ["q"] }),
    request: { target: "/a" },
    expect: { status: 429, rule: "q#all" },
  },
  {
    name: "of the virtual host, without a route",
    snapshot: mesh([zero], { host: ["q"] }),
    request: { target: "/none" },
    expect: { status: 429, route: null },
  },
  { name: "of the table", snapshot: mesh([zero], { table: ["q"] }), request: { target: "/a" }, expect: { status: 429 } },
  {
    name: "of the table, without a virtual host",
    snapshot: mesh([zero], { table: ["q"] }),
    request: { authority: "no.test" },
    expect: { status: 429, route: null },
  },
  {
    name: "named thrice, charged once",
    snapshot: mesh([quota("q", 5)], { table: ["q"], host: ["q"], route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 200, fields: { "x-ratelimit-remaining": "4" } },
  },
  {
    name: "its match does not hold",
    snapshot: mesh([quota("q", 0, { matches: [{ method: exact("POST") }] })], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 200 },
  },
  {
    name: "its match holds",
    snapshot: mesh([quota("q", 0, { matches: [{ method: exact("GET") }] })], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 429 },
  },
  {
    name: "shadow mode lets pass and says so",
    snapshot: mesh([quota("q", 0, { mode: "shadow" })], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 200, rule: "q#all", reason: "shadow_quota_exceeded", flags: "-" },
  },
  {
    name: "a missing key is denied",
    snapshot: mesh([quota("q", 5, { key: [{ kind: "header", name: "x-user" }], whenKeyMissing: "deny" })], { route: ["q"] }),
    request: { target: "/a" },
    expect: { status: 403, rule: "q" },
  },
  {
    name: "a gRPC client over quota",
    snapshot: mesh([zero], { route: ["q"] }),
    request: { target: "/a", method: "POST", fields: ["content-type", "application/grpc"] },
    expect: { status: 200, fields: { "grpc-status": "8", "content-type": "application/grpc" }, body: "", flags: "RL" },
  },
  {
    name: "no route still answers with the quota's fields",
    snapshot: mesh([quota("q", 5)], { table: ["q"] }),
    request: { target: "/none" },
    expect: { status: 404, fields: { "x-ratelimit-remaining": "4" } },
  },
  {
    name: "a plain redirect to https is not charged",
    snapshot: snapshot([virtualHost(["*"], [route("r")], { quotas: ["q"], httpsRedirect: { status: 301 } })], { quotas: [zero] }),
    request: {},
    expect: { status: 301 },
  },
];
