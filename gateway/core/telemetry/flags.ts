/** Response flags: Envoy's short words for what went differently, as access logs and metrics carry them. */
import { unreachable } from "../result.ts";
import type { ExchangeEnd } from "../step.ts";

export const RESPONSE_FLAGS = {
  /** The client closed before the response was complete. */
  DC: "downstream connection termination",
  DF: "DNS resolution failed",
  DI: "delayed by fault injection",
  /** The request broke the protocol. */
  DPE: "downstream protocol error",
  FI: "aborted by fault injection",
  IH: "rejected for an invalid header or request line",
  NC: "cluster not found",
  NR: "no route",
  OM: "rejected by this gateway to protect itself or because it is draining",
  RL: "over quota",
  RLSE: "the quota store failed",
  SI: "idle timeout of the stream",
  UC: "upstream connection terminated",
  UF: "upstream connection failed",
  UH: "no healthy upstream",
  UO: "upstream pool is full",
  UPE: "upstream protocol error",
  URX: "retries used up",
  UT: "upstream request timeout",
} as const;

export type ResponseFlag = keyof typeof RESPONSE_FLAGS;

/** What of an exchange its flags tell, besides how it ended. */
export interface Flagged {
  /** Of the answer that was made here. */
  readonly decided: ResponseFlag | undefined;
  readonly isDelayed: boolean;
  /** There were no more retries. */
  readonly usedUp: boolean;
  /** The origin's response was on its way to the client. */
  readonly isRelaying: boolean;
  /** The time for the whole request was over. */
  readonly isLate: boolean;
}

/** As access logs have them: comma separated, or "-". */
export function responseFlags(outcome: ExchangeEnd["outcome"], told: Flagged): string {
  const flags: ResponseFlag[] = [];
  if (told.isDelayed) flags.push("DI");
  if (told.decided !== undefined) flags.push(told.decided);
  if (told.usedUp) flags.push("URX");
  const ended = endFlag(outcome, told);
  if (ended !== undefined) flags.push(ended);
  return flags.length === 0 ? "-" : flags.join(",");
}

function endFlag(outcome: ExchangeEnd["outcome"], { isRelaying, isLate }: Flagged): ResponseFlag | undefined {
  switch (outcome) {
    case "complete":
      return undefined;
    case "client_gone":
      return "DC";
    case "upstream_cut":
      return "UC";
    case "timeout":
      return isLate ? "UT" : "SI";
    case "protocol_error":
      return isRelaying ? "UPE" : "DPE";
    default:
      return unreachable(outcome);
  }
}
