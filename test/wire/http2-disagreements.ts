/**
 * Where node:http2 (nghttp2) judges frames otherwise than our codec does, and why that is right. The differential test fails on everything that is not in here, and
 * on what is in here and does not occur.
 */
import type { Verdict } from "../support/http2-node.ts";

export interface Http2Disagreement {
  /** Our word for it. */
  readonly code: string;
  readonly theirs: Verdict;
  readonly why: string;
}

const OF_THE_APPLICATION = "It leaves this to the application; a gateway is the one that would pass it on.";
const MILDER =
  "It ends the connection, as RFC 9113 5.4.1 lets anybody; the rule asks for the stream alone, and other streams of the client are not at fault.";

export const HTTP2_DISAGREEMENTS: readonly Http2Disagreement[] = [
  {
    code: "frame_on_closed_stream",
    theirs: "taken",
    why: "RFC 9113 5.1 lets an endpoint end the connection. It does not remember how a stream ended and ignores the frame; ours remembers the streams that it reset itself, so that nothing else can have been under way.",
  },
  {
    code: "stream_expected",
    theirs: "taken",
    why: "RFC 9113 6.3: PRIORITY on stream 0 ends the connection. It does not look at PRIORITY at all.",
  },
  {
    code: "bad_setting",
    theirs: "taken",
    why: "RFC 8441 3: what was offered may not be taken back. It does not compare with what was said before.",
  },
  {
    code: "bad_field_name",
    theirs: "taken",
    why: "RFC 9113 8.2.1: the message is malformed. It drops such a field and takes the rest, which then is not what was sent.",
  },
  { code: "bad_field_value", theirs: "taken", why: "RFC 9113 8.2.1, as for names." },
  { code: "bad_scheme", theirs: "taken", why: OF_THE_APPLICATION },
  { code: "bad_path", theirs: "taken", why: `A fragment is no part of a path (RFC 9113 8.3.1). ${OF_THE_APPLICATION}` },
  { code: "bad_authority", theirs: "taken", why: `RFC 9113 8.5, RFC 9110 9.3.6: CONNECT names a port. ${OF_THE_APPLICATION}` },
  { code: "host_mismatch", theirs: "taken", why: `RFC 9113 8.3.1 has an intermediary not forward both. ${OF_THE_APPLICATION}` },
  { code: "bad_connect", theirs: "taken", why: `RFC 8441 4: the protocol is a token. ${OF_THE_APPLICATION}` },
  { code: "unsupported_expectation", theirs: "taken", why: `RFC 9110 10.1.1. ${OF_THE_APPLICATION}` },
  { code: "bad_status", theirs: "taken", why: "RFC 9110 15: a status is 100 to 599." },
  { code: "fields_in_tunnel", theirs: "taken", why: `RFC 9113 8.5: within a tunnel there is only DATA. ${OF_THE_APPLICATION}` },
  { code: "content_length_mismatch", theirs: "connection", why: MILDER },
  { code: "content_unexpected", theirs: "connection", why: MILDER },
  { code: "stream_closed", theirs: "connection", why: MILDER },
  { code: "stream_zero_increment", theirs: "connection", why: MILDER },
  { code: "stream_window_overflow", theirs: "connection", why: MILDER },
  { code: "data_before_head", theirs: "connection", why: MILDER },
];
