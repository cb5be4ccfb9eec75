/** Public keys of sites, out of their secrets: the private key signs passports at the site, and nothing of it leaves this file. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { type AnyResource, type ResourceOf, refOf, siteNames } from "./config/index.ts";
import { type Problem, refKey } from "./config/resource.ts";
import type { Secret, SecretReader } from "./secrets.ts";
import type { SiteKey } from "./translate/index.ts";

/** Key of a site's secret that holds the private key of its passports, a JWK. */
const PASSPORT_KEY = "passport-key";
/** Longest name of a key, characters. */
export const MAX_KID_LENGTH = 128;

export interface SiteKeys {
  /** By `refKey` of the EdgeSite. */
  readonly keys: ReadonlyMap<string, SiteKey>;
  /** On the EdgeSite whose key cannot be used: nobody takes its passports. */
  readonly problems: readonly Problem[];
}

/** Only sites that reach a cluster sign passports. */
export function readSiteKeys(resources: readonly AnyResource[], secrets: SecretReader): SiteKeys {
  const keys = new Map<string, SiteKey>();
  const problems: Problem[] = [];
  for (const site of resources) {
    if (site.kind !== "EdgeSite" || site.spec.clusters.length === 0) continue;
    const read = readSiteKey(site, secrets);
    if (typeof read === "string") problems.push(problemOn(site, read));
    else keys.set(refKey(refOf(site)), read);
  }
  return { keys, problems };
}

/** The key, or what is wrong and what would be right. */
function readSiteKey(site: ResourceOf<"EdgeSite">, secrets: SecretReader): SiteKey | string {
  const { namespace, name } = site.metadata;
  const remedy = `run: tidegate edge keys ${name}`;
  const secret = secrets.read({ namespace, name: siteNames(site).secret, key: PASSPORT_KEY });
  if (!secret.ok) return secret.error.kind === "missing" ? `${secret.error.message}; ${remedy}` : secret.error.message;
  return publicKey(secret.value) ?? `${PASSPORT_KEY} is not a private Ed25519 key as JWK with a kid; ${remedy}`;
}

function publicKey(secret: Secret): SiteKey | undefined {
  try {
    const jwk = textFields(JSON.parse(secret.reveal()));
    const kid = jwk["kid"] ?? "";
    if (kid === "" || kid.length > MAX_KID_LENGTH || jwk["d"] === undefined) return undefined;
    const key = createPrivateKey({ key: jwk, format: "jwk" });
    if (key.asymmetricKeyType !== "ed25519") return undefined;
    const { x } = createPublicKey(key).export({ format: "jwk" });
    // What the site shows as its public key has to be what it signs with.
    return x === undefined || jwk["x"] !== x ? undefined : { kid, x };
  } catch {
    // The parser's own words may quote the key.
    return undefined;
  }
}

function textFields(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}

function problemOn(site: ResourceOf<"EdgeSite">, why: string): Problem {
  const message = `${why}; until then no cluster takes the site's passports`;
  return { severity: "warning", ref: refOf(site), path: "spec.credentials", message, source: site.source };
}
