/**
 * Who somebody is, and what proves it. Today: the join token by which a gateway and its control plane first know each other.
 */
export { CONTROL_PLANE_NAME, formatJoinToken, type JoinToken, MAX_JOIN_TOKEN_CHARS, parseJoinToken } from "./join-token.ts";
