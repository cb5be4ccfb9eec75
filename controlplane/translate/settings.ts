/** MeshConfig → what gateways go by. */

import type { Settings } from "../../gateway/core/ir/index.ts";
import type { MeshConfigSpec } from "../config/index.ts";
import type { BankSite, SiteDemands } from "./types.ts";

/** @param bank that these gateways draw on from afar. @param locality of the pool */
export function settingsOf(
  mesh: MeshConfigSpec,
  sites: SiteDemands | undefined,
  bank: BankSite | undefined,
  locality: string | undefined,
): Settings {
  const { http, accessLog } = mesh;
  return {
    http: {
      maxRequestLineBytes: http.maxRequestLine,
      maxHeaderBytes: http.maxHeaders,
      maxHeaderCount: http.maxHeaderCount,
      maxRequestBodyBytes: http.maxRequestBody,
      headerTimeoutMs: http.headerTimeout,
      idleTimeoutMs: http.idleTimeout,
      streamIdleTimeoutMs: http.streamIdleTimeout,
      requestTimeoutMs: http.requestTimeout,
      drainTimeoutMs: http.drainTimeout,
      maxReplayBytes: http.maxReplay,
      minBodyRateBytes: http.minBodyRate,
      bodyRateGraceMs: http.bodyRateGrace,
      writeStallTimeoutMs: http.writeStallTimeout,
      maxConnectionDurationMs: http.maxConnectionDuration,
      maxRequestsPerConnection: http.maxRequestsPerConnection,
      maxConcurrentStreams: http.maxConcurrentStreams,
    },
    numTrustedProxies: mesh.numTrustedProxies,
    accessLog: { enabled: accessLog.enabled, path: accessLog.path },
    explainHeaders: mesh.explainHeaders,
    ...(sites?.passports === undefined ? {} : { passports: sites.passports }),
    ...(bank === undefined ? {} : { quotaBank: { url: bank.url } }),
    ...forwardClientCert(mesh),
    ...(locality === undefined ? {} : { locality }),
  };
}

/** Nothing where the default holds. */
function forwardClientCert({ forwardClientCert: { mode, cert, chain } }: MeshConfigSpec): Pick<Settings, "forwardClientCert"> {
  if (mode === "SANITIZE_SET" && !cert && !chain) return {};
  const told = { ...(cert ? { cert } : {}), ...(chain ? { chain } : {}) };
  return { forwardClientCert: { mode: XFCC_MODES[mode], ...told } };
}

const XFCC_MODES = {
  SANITIZE: "sanitize",
  FORWARD_ONLY: "forward-only",
  APPEND_FORWARD: "append-forward",
  SANITIZE_SET: "sanitize-set",
  ALWAYS_FORWARD_ONLY: "always-forward-only",
} as const;
