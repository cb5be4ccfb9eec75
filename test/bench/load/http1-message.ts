/** Where an HTTP/1.1 message with a Content-Length ends: all that the bare relay and the bench's own generators need to know of it. */

const END = Buffer.from("\r\n\r\n");

/** Bytes of the first message in `bytes`, or -1 when it is not whole yet. */
export function messageLength(bytes: Buffer): number {
  const end = bytes.indexOf(END);
  if (end === -1) return -1;
  const head = bytes.toString("latin1", 0, end);
  const at = head.search(/content-length: */i);
  const body = at === -1 ? 0 : Number.parseInt(head.slice(at + 16), 10);
  return bytes.length >= end + 4 + body ? end + 4 + body : -1;
}
