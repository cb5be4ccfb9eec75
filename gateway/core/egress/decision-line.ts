/** The decision log: one JSON line per decision, whatever it was, the same on every runtime. */
import { asciiJson } from "../telemetry/access-log.ts";
import type { EgressDecisionRecord } from "./ports.ts";

/** The line, without its end. */
export function decisionLine(record: EgressDecisionRecord): string {
  return asciiJson(decisionFields(record));
}

/** Names in the spelling of the access log, absent values left out. */
function decisionFields(record: EgressDecisionRecord): Record<string, unknown> {
  const { peer, wouldDeny, learned } = record;
  return {
    log: "egress",
    time: new Date(record.unixMs).toISOString(),
    snapshot: record.snapshotVersion,
    listener: record.listener,
    ...(peer.address === "" ? {} : { client: peer.address }),
    ...(peer.principal === undefined ? {} : { principal: peer.principal }),
    ...(record.user === undefined ? {} : { user: record.user }),
    ...(record.service === undefined ? {} : { service: record.service }),
    kind: record.kind,
    method: record.method,
    authority: record.authority,
    verdict: record.verdict,
    code: record.code,
    ...(record.rule === undefined ? {} : { rule: record.rule }),
    reason: record.reason,
    ...(wouldDeny === undefined ? {} : { would_deny: wouldDeny }),
    ...(learned === undefined ? {} : { learned }),
    ...(record.address === undefined ? {} : { address: record.address }),
    ...(record.openedBy === undefined ? {} : { opened_by: record.openedBy }),
    status: record.status,
  };
}
