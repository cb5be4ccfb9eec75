/** What one snapshot may hold at most. A reader refuses more by name, so that no document can use up its memory or time. */
export const DECODE_LIMITS = {
  /** Resource, route and rule names; cluster and table names. */
  nameLength: 512,
  /** Host names and patterns, addresses with prefix (RFC 1035 2.3.4, with room for `*.`). */
  hostLength: 260,
  /** Paths, header values, regexes and other free text. */
  textLength: 8_192,
  /** Body of a direct response or quota refusal. */
  bodyLength: 1_048_576,
  listeners: 1_024,
  serversPerListener: 4_096,
  routeTables: 16_384,
  virtualHostsPerTable: 200_000,
  domainsPerVirtualHost: 4_096,
  routesPerVirtualHost: 50_000,
  matchesPerRoute: 1_024,
  conditionsPerMatch: 128,
  destinationsPerRoute: 256,
  /** Routes of opaque connections of one server. */
  connectionRoutes: 16_384,
  headerOps: 256,
  clusters: 200_000,
  endpointsPerCluster: 20_000,
  /** Places of one ring or maglev table; the largest prime that Envoy takes for one. */
  hashTableSize: 5_000_011,
  quotas: 20_000,
  quotaKeyParts: 8,
  limitsPerQuota: 32,
  overridesPerQuota: 20_000,
  egressPolicies: 20_000,
  rulesPerPolicy: 4_096,
  hostsPerRule: 4_096,
  egressUsers: 50_000,
  /** Beside the first: of other key types, for the same names. */
  certificatesPerServer: 3,
  /** Any other list (origins, methods, cipher suites, addresses…). */
  listLength: 1_024,
  /** Quotas named by one route, virtual host, table or rule. */
  quotaReferences: 64,
  /** Characters of one chunk written out, with every shared part at every place it is used at: what `maxChunkBytes` is for bytes. */
  chunkSize: 8_388_608,
  /** The same of all chunks of a snapshot together. */
  snapshotSize: 67_108_864,
  /** Ten years: no duration in a snapshot means more. */
  durationMs: 315_360_000_000,
} as const;
