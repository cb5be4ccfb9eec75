/**
 * What it takes to run an edge site: the Workers' code as bundles, the configuration of the runtime that runs them (workerd of one's own, or
 * Cloudflare by wrangler), and the secrets that the site's parts show each other.
 * Never talks to a site (that is distribution's), and never holds a secret longer than it takes to write it where it is wanted.
 */
export { type Bundle, bundleProblem, bundleWorker, MAX_WORKER_GZIP_BYTES } from "./bundle.ts";
export { type CredentialRef, injectedCredentials, readCredentials } from "./credentials.ts";
export { loopbackPort, type SiteFacts, type SiteObject, type SiteTrust, siteFacts } from "./site.ts";
export { CONFIG_FILE, ENVIRONMENT_FILE, environmentFile, siteReadme, writePrivate, writeSiteConfig } from "./site-files.ts";
export {
  bankTokenFile,
  makeSiteSecrets,
  readProxyTokens,
  readSiteSecrets,
  type SecretFile,
  type SecretRef,
  SITE_SECRETS,
  type SiteSecrets,
} from "./site-secrets.ts";
export { EGRESS, ENTRIES, type GuestWorker, INGRESS, type SiteRuntime } from "./site-workerd.ts";
export { type SiteUpstream, siteUpstreams } from "./upstreams.ts";
export { type WorkerdBinding, type WorkerdConfig, type WorkerdSocket, type WorkerdWorker, workerdConfig } from "./workerd.ts";
export { workerdBinary } from "./workerd-binary.ts";
export { exampleWranglerToml, MAX_WORKER_NAME_CHARS, workerNames, wranglerToml } from "./wrangler.ts";
