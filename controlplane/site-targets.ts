/** Where the relays of sites are and by which token they are reached: EdgeSite objects in force, and their secrets. */
import { fail, ok } from "../gateway/core/result.ts";
import { siteNames } from "./config/index.ts";
import type { SiteTarget } from "./distribute/index.ts";
import type { SitePool } from "./publishing.ts";
import type { SecretReader } from "./secrets.ts";

/** Key of a site's secret that holds the token of its relay. */
const RELAY_TOKEN = "relay-token";

/** A site whose token is not to be had is a target all the same: its status says why it is not reached. */
export function siteTargets(sites: readonly SitePool[], secrets: SecretReader): readonly SiteTarget[] {
  return sites.map(({ name: audience, site }): SiteTarget => {
    const { namespace, name } = site.metadata;
    const token = secrets.read({ namespace, name: siteNames(site).secret, key: RELAY_TOKEN });
    const remedy = `run: tidegate edge keys ${name}`;
    return {
      name,
      audience,
      url: site.spec.url,
      token: token.ok
        ? ok(token.value.reveal())
        : fail(token.error.kind === "missing" ? `${token.error.message}; ${remedy}` : token.error.message),
    };
  });
}
