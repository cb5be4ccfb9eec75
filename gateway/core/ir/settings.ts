/** Limits and habits of a gateway that come from MeshConfig. Every limit has a name, a unit and a default; see docs. */
export interface Settings {
  readonly http: HttpSettings;
  /** Trusted hops in front: the Nth X-Forwarded-For entry from the right is the client. 0: the peer itself. */
  readonly numTrustedProxies: number;
  readonly accessLog: { readonly enabled: boolean; readonly path: string };
  /** Tell `x-tidegate-snapshot`, `-rule` and `-reason` in responses. */
  readonly explainHeaders: boolean;
  /** Who may hand requests on to this gateway with a passport. Absent: nobody. */
  readonly passports?: PassportSettings;
  /** Where global quotas are kept: address of a site's bank, path included. Absent: at the site itself, or there are none. */
  readonly quotaBank?: { readonly url: string };
  /** Absent: `sanitize-set`, without the certificate itself. */
  readonly forwardClientCert?: ForwardClientCert;
  /** Where the gateways are, `region/zone/subzone`, unless they have a setting of their own. Absent: nobody knows. */
  readonly locality?: string;
}

/** What origins are told of clients' certificates, in X-Forwarded-Client-Cert. */
export interface ForwardClientCert {
  readonly mode: XfccMode;
  /** The certificate itself, besides its hash, subject, URIs and DNS names. */
  readonly cert?: boolean;
  /** The certificate and those that the client sent with it. */
  readonly chain?: boolean;
}

/**
 * What becomes of the field that a client sends. Only `always-forward-only` lets a client without a verified certificate speak, and only the `forward`
 * modes a client with one; the others take it away (`sanitize`), and say who the client is instead (`sanitize-set`).
 */
export type XfccMode = "sanitize" | "forward-only" | "append-forward" | "sanitize-set" | "always-forward-only";

/** Passports are taken from these issuers only, and only under their keys. */
export interface PassportSettings {
  /** Name of this gateway's cluster: what a passport has to be for. */
  readonly audience: string;
  readonly issuers: readonly PassportIssuer[];
}

export interface PassportIssuer {
  /** Name of the EdgeSite. */
  readonly site: string;
  readonly kid: string;
  /** Public Ed25519 key, base64url (RFC 8037 `x`). */
  readonly x: string;
}

export interface HttpSettings {
  /** Longest request line, bytes. */
  readonly maxRequestLineBytes: number;
  /** All fields together, bytes. */
  readonly maxHeaderBytes: number;
  readonly maxHeaderCount: number;
  /** 0: unlimited. */
  readonly maxRequestBodyBytes: number;
  /** From the first byte of a request to the end of its head. */
  readonly headerTimeoutMs: number;
  /** Keep-alive connection without a request. */
  readonly idleTimeoutMs: number;
  /** No byte either way during a request; 0: off. */
  readonly streamIdleTimeoutMs: number;
  /** From head to last body byte of the request; 0: off. */
  readonly requestTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** Body bytes kept so that a retry can send them again. */
  readonly maxReplayBytes: number;
  /** Bytes a second that a request's body has to come at, while it is waited for; 0 or absent: any. */
  readonly minBodyRateBytes?: number;
  /** What a body may fall behind its rate; absent: nothing. */
  readonly bodyRateGraceMs?: number;
  /** A client that has to take more of a response, and takes none of it; 0 or absent: off. */
  readonly writeStallTimeoutMs?: number;
  /** Age at which a connection ends with its next answer; 0 or absent: never. */
  readonly maxConnectionDurationMs?: number;
  /** The last of so many answers ends its connection; 0 or absent: none does. */
  readonly maxRequestsPerConnection?: number;
  /** Requests at once on one HTTP/2 connection. Absent: 100. */
  readonly maxConcurrentStreams?: number;
}

export const DEFAULT_SETTINGS: Settings = {
  http: {
    maxRequestLineBytes: 8 * 1024,
    maxHeaderBytes: 32 * 1024,
    maxHeaderCount: 100,
    maxRequestBodyBytes: 0,
    headerTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    streamIdleTimeoutMs: 300_000,
    requestTimeoutMs: 0,
    drainTimeoutMs: 45_000,
    maxReplayBytes: 64 * 1024,
    minBodyRateBytes: 100,
    bodyRateGraceMs: 30_000,
    writeStallTimeoutMs: 60_000,
    maxConnectionDurationMs: 0,
    maxRequestsPerConnection: 0,
    maxConcurrentStreams: 100,
  },
  numTrustedProxies: 0,
  accessLog: { enabled: true, path: "-" },
  explainHeaders: false,
};
