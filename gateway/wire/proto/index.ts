/**
 * Protocol messages shared by control plane and gateways, generated from the `.proto` files beside this door (`npm run generate`).
 */
export * from "./gen/tidegate/distribute/v1/distribute_pb.js";
export { create, type GrpcMethod, grpcDefinition } from "./grpc-definition.ts";
