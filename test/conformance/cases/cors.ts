import type { CorsPolicy } from "../../../gateway/core/ir/index.ts";
import { exact, forward, only, prefix, regex } from "../build.ts";
import type { Case, CaseRequest } from "../case.ts";

const policy: CorsPolicy = {
  allowOrigins: [exact("https://app.test"), prefix("https://dev."), regex("https://[a-z]+\\.example\\.com")],
  allowMethods: ["GET", "POST"],
  allowHeaders: ["x-token"],
  exposeHeaders: ["x-total"],
  maxAgeS: 600,
  allowCredentials: true,
  unmatchedPreflights: "forward",
};
const on = (more: Partial<CorsPolicy> = {}) => only({ cors: { ...policy, ...more } });
const preflight = (origin: string): CaseRequest => ({
  method: "OPTIONS",
  fields: ["origin", origin, "access-control-request-method", "POST"],
});
const NONE = ["access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods"];

export const cors: readonly Case[] = [
  {
    name: "a preflight is answered here",
    snapshot: on(),
    request: preflight("https://app.test"),
    expect: {
      status: 200,
      upstream: [],
      fields: {
        "access-control-allow-origin": "https://app.test",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "x-token",
        "access-control-max-age": "600",
        vary: "origin",
      },
    },
  },
  {
    name: "origin by prefix",
    snapshot: on(),
    request: preflight("https://dev.app.test"),
    expect: { status: 200, upstream: [], fields: { "access-control-allow-origin": "https://dev.app.test" } },
  },
  {
    name: "origin by regex",
    snapshot: on(),
    request: preflight("https://a.example.com"),
    expect: { status: 200, upstream: [], fields: { "access-control-allow-origin": "https://a.example.com" } },
  },
  {
    name: "another origin's preflight is passed on",
    snapshot: on(),
    request: preflight("https://evil.test"),
    expect: { status: 200, body: "ok", upstream: [{ method: "OPTIONS" }], absent: NONE },
  },
  {
    name: "or answered without a permission",
    snapshot: on({ unmatchedPreflights: "ignore" }),
    request: preflight("https://evil.test"),
    expect: { status: 200, upstream: [], absent: NONE, fields: { vary: "origin" } },
  },
  {
    name: "OPTIONS without Origin is no preflight",
    snapshot: on(),
    request: { method: "OPTIONS", fields: ["access-control-request-method", "POST"] },
    expect: { status: 200, upstream: [{}] },
  },
  {
    name: "OPTIONS without a requested method is no preflight",
    snapshot: on(),
    request: { method: "OPTIONS", fields: ["origin", "https://app.test"] },
    expect: { status: 200, upstream: [{}] },
  },
  {
    name: "a response to an allowed origin",
    snapshot: on(),
    request: { fields: ["origin", "https://app.test"] },
    origin: [{ status: 200, fields: ["access-control-allow-origin", "*", "access-control-expose-headers", "x-other"] }],
    expect: {
      status: 200,
      fields: {
        "access-control-allow-origin": "https://app.test",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-total",
        vary: "origin",
      },
    },
  },
  {
    name: "a response to another origin",
    snapshot: on(),
    request: { fields: ["origin", "https://evil.test"] },
    expect: { status: 200, absent: NONE, fields: { vary: "origin" } },
  },
  {
    name: "a response without Origin",
    snapshot: on(),
    request: {},
    expect: { status: 200, absent: NONE, fields: { vary: "origin" } },
  },
  {
    name: "every origin",
    snapshot: on({ allowOrigins: [exact("*")], allowCredentials: false }),
    request: { fields: ["origin", "https://x.test"] },
    expect: {
      status: 200,
      fields: { "access-control-allow-origin": "https://x.test" },
      absent: ["access-control-allow-credentials"],
    },
  },
  {
    name: "a page can read an error made here",
    snapshot: only({ cors: policy, action: forward("empty") }),
    request: { fields: ["origin", "https://app.test"] },
    expect: { status: 503, fields: { "access-control-allow-origin": "https://app.test" } },
  },
];
