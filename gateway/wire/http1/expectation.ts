/** Expect (RFC 9110 10.1.1), for whichever version brings it. */
import type { RequestHead } from "../../core/http/message.ts";

/** True when content follows the head. */
export function hasContent({ body }: RequestHead): boolean {
  return body.kind === "stream" || (body.kind === "length" && body.bytes > 0);
}

/** Takes an expectation that asks for nothing out of a head, so that it does not travel on. */
export function dropExpectation(head: RequestHead): void {
  const { fields } = head;
  head.fields = fields.filter((_, i) => fields[i - (i % 2)] !== "expect");
}
