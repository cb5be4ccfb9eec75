/** The decision log: one JSON line per decision, whatever it was. */
import { asciiJson, type DecisionLog, type EgressDecisionRecord } from "../core/index.ts";

export class JsonDecisionLog implements DecisionLog {
  readonly #write: (line: string) => void;

  /** @param write takes one line with its end */
  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  decided(record: EgressDecisionRecord): void {
    this.#write(`${asciiJson(decisionLine(record))}\n`);
  }
}

/** The line as an object: names in the spelling of the access log, absent values left out. */
function decisionLine(record: EgressDecisionRecord): Record<string, unknown> {
  const { peer, wouldDeny } = record;
  return {
    log: "egress",
    time: new Date(record.unixMs).toISOString(),
    snapshot: record.snapshotVersion,
    listener: record.listener,
    client: peer.address,
    ...(peer.principal === undefined ? {} : { principal: peer.principal }),
    ...(record.user === undefined ? {} : { user: record.user }),
    kind: record.kind,
    method: record.method,
    authority: record.authority,
    verdict: record.verdict,
    code: record.code,
    ...(record.rule === undefined ? {} : { rule: record.rule }),
    reason: record.reason,
    ...(wouldDeny === undefined ? {} : { would_deny: wouldDeny }),
    ...(record.address === undefined ? {} : { address: record.address }),
    ...(record.openedBy === undefined ? {} : { opened_by: record.openedBy }),
    status: record.status,
  };
}
