/**
 * The tunnel: many requests over one connection that a gateway of a cluster has opened towards an edge site, because nobody can connect to the cluster.
 *
 * Sans-I/O: a session is fed the messages that a transport brings (each one frame, whole and in order; WebSocket binary messages are), and says
 * what to send. It must never hold more of a body than the windows allow, and one side's slow reader must not stop the other streams.
 */
export { decodeFrame, encodeFrame, type ResetCode, type TunnelFrame } from "./frame.ts";
export {
  CONNECTION_WINDOW_BYTES,
  MAX_TUNNEL_DATA_BYTES,
  MAX_TUNNEL_FIELDS,
  MAX_TUNNEL_HEAD_BYTES,
  MAX_TUNNEL_REASON_CHARS,
  MAX_TUNNEL_STREAMS,
  STREAM_WINDOW_BYTES,
} from "./limits.ts";
export { type IdleSession, type TunnelEvent, TunnelSession } from "./session.ts";
export { bodyBehind } from "./stream.ts";
