/**
 * Distribution: tells every enrolled gateway of its pool's newest signed snapshot, hands out the chunks it lacks, and keeps what each
 * one answered. It signs nothing and decides nothing about content; a gateway trusts signatures, never this room.
 */
export { EdgeDistribution } from "./edge.ts";
export type { SiteStatus, SiteTarget } from "./edge-connection.ts";
export type { SiteKnowledge, SiteSnapshot, SiteSnapshots } from "./edge-conversation.ts";
export type { ReportedEndpoint } from "./endpoint-reports.ts";
export { type EnrolledGateway, Enrolment, type EnrolOutcome, type IssuedToken } from "./enrolment.ts";
export {
  type DistributionOptions,
  DistributionServer,
  type GatewayStatus,
  type SnapshotReader,
} from "./grpc.ts";
export { loadServerIdentity, type ServerIdentity } from "./server-identity.ts";
export { heldBy, type RefusalDetail, type SessionState, type SnapshotRef, sameSnapshot } from "./session.ts";
