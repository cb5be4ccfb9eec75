import type { ErrorCode } from "../../../gateway/core/error.ts";
import { only } from "../build.ts";
import type { Case } from "../case.ts";

const fails = (code: ErrorCode, status: number, flags: string): Case => ({
  name: code,
  snapshot: only({}),
  request: {},
  origin: [{ fails: code, sent: true }],
  expect: { status, flags, reason: "scripted", upstream: [{}], fields: { server: "tidegate" } },
});

export const failures: readonly Case[] = [
  fails("upstream_connect", 503, "UF"),
  fails("upstream_connect_timeout", 503, "UF"),
  fails("upstream_reset", 503, "UC"),
  fails("upstream_protocol", 502, "UPE"),
  fails("upstream_timeout", 504, "UT"),
  fails("upstream_tls", 503, "UF"),
  fails("upstream_overflow", 503, "UO"),
  fails("dns_failure", 503, "DF"),
];
