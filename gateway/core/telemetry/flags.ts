/** Response flags: Envoy's short words for what went differently, as access logs and metrics carry them. */
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
