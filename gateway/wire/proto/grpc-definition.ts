/**
 * A gRPC service definition from a generated protobuf description, in the shape that gRPC libraries for Node take.
 * Wire itself does no I/O and knows no Buffer: the runtime hands in how bytes become its own byte type.
 */
import { create, type DescMessage, type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";

export interface GrpcMethod<Bytes> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(value: object): Bytes;
  requestDeserialize(bytes: Bytes): object;
  responseSerialize(value: object): Bytes;
  responseDeserialize(bytes: Bytes): object;
}

/** Keys are the methods' local names (`enrol`, `subscribe`). Malformed bytes make a deserializer throw, which the gRPC library turns into a status. */
export function grpcDefinition<Bytes extends Uint8Array>(
  service: DescService,
  toBytes: (bytes: Uint8Array) => Bytes,
): Record<string, GrpcMethod<Bytes>> {
  const codec = (message: DescMessage) => ({
    serialize: (value: object) => toBytes(toBinary(message, value as MessageShape<DescMessage>)),
    deserialize: (bytes: Bytes): object => fromBinary(message, bytes),
  });
  const methods: Record<string, GrpcMethod<Bytes>> = {};
  for (const method of service.methods) {
    const request = codec(method.input);
    const response = codec(method.output);
    methods[method.localName] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      requestSerialize: request.serialize,
      requestDeserialize: request.deserialize,
      responseSerialize: response.serialize,
      responseDeserialize: response.deserialize,
    };
  }
  return methods;
}

export { create };
