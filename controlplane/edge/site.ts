/** An EdgeSite as those need it who run the site: where it is, what it may hold, and whom it believes. */
import { z } from "zod";
import { fail, type Issue, ok, type Result } from "../../gateway/core/result.ts";
import type { SecretRef } from "./site-secrets.ts";

/** What a Worker is told of its site; nothing in it is secret. */
export interface SiteFacts {
  readonly name: string;
  readonly namespace: string;
  readonly url: string;
  readonly audience: string;
  /** What its snapshots are translated for. */
  readonly runtime: "cloudflare" | "workerd";
  readonly credentials: SecretRef;
}

/** What pins the trust of a new site. */
export interface SiteTrust {
  /** SHA-256 (base64url) of the first trust root's bytes. */
  readonly pin: string;
  /** A snapshot older than this is a replay even for a site without memory: `epoch.version`. */
  readonly floor: string | undefined;
}

/** What is read of an EdgeSite as it was written: the control plane has validated all of it, and its kind fills in the same defaults. */
const schema = z.object({
  url: z.url(),
  audience: z.string().min(1).optional(),
  runtime: z.enum(["cloudflare", "workerd"]).default("cloudflare"),
  credentials: z.object({ fromSecret: z.object({ name: z.string().min(1) }) }).optional(),
});

export interface SiteObject {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: unknown;
}

export function siteFacts({ metadata: { name, namespace }, spec }: SiteObject): Result<SiteFacts> {
  const parsed = schema.safeParse(spec);
  if (!parsed.success) {
    return fail(
      parsed.error.issues.map(
        (issue): Issue => ({ path: `EdgeSite ${namespace}/${name}: spec.${issue.path.join(".")}`, problem: issue.message }),
      ),
    );
  }
  const { url, audience = name, runtime, credentials } = parsed.data;
  return ok({ name, namespace, url, audience, runtime, credentials: { namespace, name: credentials?.fromSecret.name ?? name } });
}

/** Text bindings of both Workers. */
export function siteVariables(
  { name, audience, url }: Pick<SiteFacts, "name" | "audience" | "url">,
  { pin, floor }: SiteTrust,
): Readonly<Record<string, string>> {
  return {
    SITE: name,
    AUDIENCE: audience,
    TRUST_ROOT: pin,
    SITE_HOST: new URL(url).host,
    ...(floor !== undefined && { SNAPSHOT_FLOOR: floor }),
  };
}

/** Where a site on this machine listens; undefined: its URL names another machine. */
export function loopbackPort({ url }: Pick<SiteFacts, "url">): number | undefined {
  const { protocol, hostname, port } = new URL(url);
  const loopback = hostname === "localhost" || /^127(\.\d{1,3}){3}$/.test(hostname);
  return loopback && protocol === "http:" ? Number(port === "" ? 80 : port) : undefined;
}
