/** What one tunnel connection may cost either side. Both sides know these numbers; they are part of the protocol. */

/** Of one DATA frame's payload. */
export const MAX_TUNNEL_DATA_BYTES = 32 * 1024;
/** Of the head in OPEN or HEAD, as JSON. More than a listener takes by default, so that the listener's own limit is what refuses. */
export const MAX_TUNNEL_HEAD_BYTES = 128 * 1024;
/** Fields of one head. */
export const MAX_TUNNEL_FIELDS = 1024;
/** Of the reason in RESET. */
export const MAX_TUNNEL_REASON_CHARS = 200;
/** Requests in flight on one connection. */
export const MAX_TUNNEL_STREAMS = 256;
/** Body bytes of one stream that may be on their way or unread: 5 MB/s at 50 ms of round trip. */
export const STREAM_WINDOW_BYTES = 256 * 1024;
/** The same for all streams of a connection together: what a connection can ever make a side keep. Sixteen readers that stand still do not stop the rest. */
export const CONNECTION_WINDOW_BYTES = 16 * STREAM_WINDOW_BYTES;
