/** A folder from which a site runs: configuration, both Workers' code, secrets in a file of their own, and how to start it. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SiteRuntime } from "./site-workerd.ts";
import { EGRESS_PATH, siteBundles, siteWorkerd } from "./site-workerd.ts";
import { workerdConfig } from "./workerd.ts";

export const CONFIG_FILE = "workerd.capnp";
export const ENVIRONMENT_FILE = "edge.env";

/** Writes all but the secrets. @returns the files, relative to the folder */
export async function writeSiteConfig(folder: string, runtime: SiteRuntime): Promise<readonly string[]> {
  mkdirSync(join(folder, runtime.storage), { recursive: true, mode: 0o700 });
  const bundles = await siteBundles(runtime.guests);
  for (const [file, code] of bundles) writeFileSync(join(folder, file), code);
  writeFileSync(join(folder, CONFIG_FILE), workerdConfig(siteWorkerd(runtime)));
  return [CONFIG_FILE, ...bundles.keys()];
}

/** As a shell and systemd's EnvironmentFile read it: each value in single quotes. */
export function environmentFile(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    .join("");
}

/** What somebody else on this machine must not read. */
export function writePrivate(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600 });
  chmodSync(file, 0o600);
}

/** How the folder is used: for whoever finds it on a machine. */
export function siteReadme({ site, address, egressAddress, allowNetworks }: SiteRuntime): string {
  const reached = allowNetworks.length === 0 ? "public addresses" : `public addresses and ${allowNetworks.join(", ")}`;
  return `# Edge site ${site.name}

Made by \`tidegate edge config ${site.name}\`. The site is ${site.url}, its snapshots are those for the audience ${site.audience}.

\`\`\`sh
set -a; . ./${ENVIRONMENT_FILE}; set +a
npx workerd serve ${CONFIG_FILE}
\`\`\`

- Run it in this folder: \`storage/\` keeps the site's snapshots and quota counters over a restart.
- It listens on ${address}; ${site.url} has to lead there, with TLS, for clients and for the control plane alike.
${egressAddress === undefined ? "" : `- Callers of the egress over HTTPS ask below ${site.url}${EGRESS_PATH}: lead that path to ${egressAddress}.\n`}- SIGTERM ends it when its last connection has ended, and the control plane keeps one open: set a limit (systemd: TimeoutStopSec=5).
- Requests go to ${reached} only, whatever a name resolves to.
- \`${ENVIRONMENT_FILE}\` holds the site's secrets: keep its mode (0600), out of images and repositories. After \`tidegate edge keys
  ${site.name} --rotate\`, make this folder anew and restart.
- After an update of Tidegate, make this folder anew. Configuration needs no restart: it comes as signed snapshots.
`;
}
