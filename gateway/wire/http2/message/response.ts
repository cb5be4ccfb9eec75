/** What a response's field section means (RFC 9113 8.3.2), or the rule that it breaks. */
import { type BodyKind, NO_BODY, type ResponseHead, STREAM_BODY } from "../../../core/http/message.ts";
import { contentLength } from "../../http1/framing.ts";
import type { StreamProblemCode } from "../errors.ts";
import type { Section } from "./section.ts";

/** `method`: of the request that is answered. `end`: nothing follows the head. */
export function readResponse(section: Section, method: string, end: boolean): ResponseHead | StreamProblemCode {
  if (section.problem !== undefined) return section.problem;
  if (section.status === undefined) return "missing_pseudo";
  const status = statusOf(section.status);
  // RFC 9113 8.6: 101 does not exist here.
  if (status === -1 || status === 101) return "bad_status";
  const body = responseBody(section.contentLength, status, method, end);
  return typeof body === "string" ? body : { status, fields: section.fields, body, version: "2" };
}

/** A response to this request has no content, whatever its fields say (RFC 9110 6.4.1). CONNECT's 2xx begins a tunnel. */
export function hasNoContent(status: number, method: string): boolean {
  return status < 200 || status === 204 || status === 304 || method === "HEAD";
}

function responseBody(length: string | undefined, status: number, method: string, end: boolean): BodyKind | StreamProblemCode {
  const bytes = length === undefined ? undefined : contentLength(length);
  if (bytes === -1) return "bad_content_length";
  // RFC 9110 8.6, 9.3.6: of no meaning there.
  if (status < 200 || status === 204 || (method === "CONNECT" && status < 300)) return NO_BODY;
  if (method === "HEAD" || status === 304) return bytes === undefined ? NO_BODY : { kind: "length", bytes };
  if (bytes === undefined) return end ? NO_BODY : STREAM_BODY;
  return end && bytes > 0 ? "content_length_mismatch" : { kind: "length", bytes };
}

/** Three digits, 100 to 599 (RFC 9110 15). */
function statusOf(text: string): number {
  if (text === "200") return 200;
  return /^[1-5][0-9][0-9]$/.test(text) ? Number(text) : -1;
}
