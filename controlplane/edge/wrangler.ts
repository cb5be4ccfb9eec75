/**
 * The configuration by which wrangler puts a site on Cloudflare: one file, an environment for each Worker. `wrangler.toml` at the top of the
 * project is this text for a site that stands for any, so that what is deployed and what the tests deploy dry have one source.
 */
import { type SiteFacts, type SiteTrust, siteVariables } from "./site.ts";
import { SITE_SECRETS } from "./site-secrets.ts";
import { EGRESS, EGRESS_OBJECTS, EGRESS_PATH, INGRESS, SITE_OBJECTS } from "./site-workerd.ts";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from "./workerd.ts";

/** What a Worker's name may be on Cloudflare. */
export const MAX_WORKER_NAME_CHARS = 63;

export interface WranglerOptions {
  readonly site: Pick<SiteFacts, "name" | "audience" | "url">;
  readonly trust: SiteTrust;
  /** Source files of the Workers, as the file names them. */
  readonly entries: Readonly<Record<typeof INGRESS | typeof EGRESS, string>>;
  /** Put on top as comments. */
  readonly remarks: readonly string[];
}

/** Several sites of one account keep apart by name. */
export function workerNames(site: string): Readonly<Record<typeof INGRESS | typeof EGRESS, string>> {
  return { ingress: `tidegate-${site}-ingress`, egress: `tidegate-${site}-egress` };
}

export function wranglerToml({ site, trust, entries, remarks }: WranglerOptions): string {
  const names = workerNames(site.name);
  const variables = Object.entries(siteVariables(site, trust)).map(([name, value]) => `${name} = ${quote(value)}`);
  const host = new URL(site.url).hostname;
  return [
    ...remarks.map((line) => `# ${line}`.trimEnd()),
    `name = ${quote(`tidegate-${site.name}`)}`,
    `compatibility_date = ${quote(COMPATIBILITY_DATE)}`,
    "# A name that leads to a private address is not reached, whatever zone it belongs to.",
    `compatibility_flags = [${["global_fetch_strictly_public", ...COMPATIBILITY_FLAGS].map(quote).join(", ")}]`,
    "workers_dev = false",
    "minify = true",
    "",
    "# ── the gateway in front, and the objects of the site ──",
    `[env.${INGRESS}]`,
    `name = ${quote(names.ingress)}`,
    `main = ${quote(entries.ingress)}`,
    `routes = [{ pattern = ${quote(host)}, custom_domain = true }]`,
    "",
    `[env.${INGRESS}.vars]`,
    ...variables,
    ...Object.entries(SITE_OBJECTS).flatMap(([name, className]) => ["", ...binding(INGRESS, name, className)]),
    "",
    `[[env.${INGRESS}.migrations]]`,
    'tag = "v1"',
    `new_sqlite_classes = [${Object.values(SITE_OBJECTS).map(quote).join(", ")}]`,
    "",
    "# ── the gateway that Workers call out through: others bind to it as a service ──",
    `[env.${EGRESS}]`,
    `name = ${quote(names.egress)}`,
    `main = ${quote(entries.egress)}`,
    "# Callers that are no Workers ask here; the rest of the host is the ingress Worker's.",
    `routes = [${quote(`${host}${EGRESS_PATH}*`)}]`,
    "",
    `[env.${EGRESS}.vars]`,
    ...variables,
    ...EGRESS_OBJECTS.flatMap((name) => ["", ...binding(EGRESS, name, SITE_OBJECTS[name], names.ingress)]),
    "",
  ].join("\n");
}

function binding(environment: string, name: string, className: string, script?: string): readonly string[] {
  return [
    `[[env.${environment}.durable_objects.bindings]]`,
    `name = ${quote(name)}`,
    `class_name = ${quote(className)}`,
    ...(script === undefined ? [] : [`script_name = ${quote(script)}`]),
  ];
}

/** A TOML basic string: what it escapes, JSON escapes alike. */
function quote(text: string): string {
  return JSON.stringify(text);
}

/** The file at the top of the project. */
export function exampleWranglerToml(): string {
  return wranglerToml({
    site: { name: "example", audience: "edge-example", url: "https://edge.example.com" },
    trust: { pin: "the-pin-that-npx-tidegate-keys-show-prints", floor: undefined },
    entries: { ingress: "gateway/edge/ingress.ts", egress: "gateway/edge/egress.ts" },
    remarks: [
      "Both gateway Workers of one edge site, as wrangler deploys them. Made from controlplane/edge/wrangler.ts:",
      "  UPDATE_WRANGLER=1 npx vitest run --project integration test/edge/bundle.test.ts",
      "",
      "`npx tidegate edge deploy <site>` writes such a file for a real site and hands it to wrangler. To drive wrangler",
      "by hand, replace the values under `vars`:",
      "  SITE        name of the EdgeSite object",
      "  AUDIENCE    its spec.audience",
      "  TRUST_ROOT  the pin that `npx tidegate keys show` prints",
      "  SITE_HOST   host of its spec.url; `/.tidegate/*` is answered there and nowhere else",
      "",
      `Secrets are in no file: ${Object.values(SITE_SECRETS).join(", ")} (ingress), SECRET_* and PROXY_TOKEN_* (egress). Put them with`,
      "`npx wrangler secret put NAME --env ingress`.",
      "",
    ],
  });
}
