/** What the API can be asked to do. The control plane implements it; the HTTP side knows nothing behind it. */
import type {
  ApplyRequest,
  ChangeResponse,
  DeleteRequest,
  EndpointsResponse,
  EnforcedAnswer,
  JoinTokenRequest,
  JoinTokenResponse,
  ObjectsResponse,
  RevokeResponse,
  RollbackRequest,
  RollbackResponse,
  SnapshotListResponse,
  StatusResponse,
  TrustResponse,
} from "./contract.ts";

export interface ObjectFilter {
  readonly kind?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export interface EndpointFilter {
  readonly pool?: string | undefined;
  readonly gateway?: string | undefined;
  /** Host of the service, whole or its first label. */
  readonly service?: string | undefined;
}

/** Expected refusals are values: what was asked for is not there, or cannot be done, and why. */
export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly status: 400 | 404 | 409; readonly detail: string };

export interface Operations {
  objects(filter: ObjectFilter): ObjectsResponse;
  apply(request: ApplyRequest, who: string): Promise<ChangeResponse>;
  delete(request: DeleteRequest, who: string): Promise<ChangeResponse>;
  status(): StatusResponse;
  endpoints(filter: EndpointFilter): EndpointsResponse;
  wait(timeoutMs: number): Promise<EnforcedAnswer>;
  snapshots(pool: string | undefined): Promise<SnapshotListResponse>;
  /** The snapshot as a file: manifest and chunks. */
  snapshotFile(pool: string, version: string): Promise<Answer<unknown>>;
  rollback(pool: string, request: RollbackRequest): Promise<Answer<RollbackResponse>>;
  trust(): TrustResponse;
  joinToken(request: JoinTokenRequest): Promise<Answer<JoinTokenResponse>>;
  /** Takes a gateway's credential away and ends its stream. */
  revoke(gateway: string): Answer<RevokeResponse>;
  /** JSON Schema of every kind, by kind. */
  schemas(): Readonly<Record<string, unknown>>;
  /** Undefined: ready. Otherwise why not yet. */
  notReady(): string | undefined;
}
