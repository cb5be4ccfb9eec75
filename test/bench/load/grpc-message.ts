/** A message with gRPC's prefix: not compressed, length in four bytes. Source: the gRPC protocol over HTTP/2, "Length-Prefixed-Message". */
export function grpcMessage(text: string): Buffer {
  const payload = Buffer.from(text);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(payload.length, 1);
  return Buffer.concat([prefix, payload]);
}
