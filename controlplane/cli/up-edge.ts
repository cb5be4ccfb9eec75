/** The edge site of `tidegate up --edge`: found in the documents before anything starts, run beside the gateways when the control plane is there. */
import { join } from "node:path";
import type { Document } from "../api/index.ts";
import type { Resource } from "../config/resource.ts";
import { diskFiles } from "../disk-files.ts";
import {
  bankTokenFile,
  type GuestWorker,
  injectedCredentials,
  loopbackPort,
  makeSiteSecrets,
  type SiteFacts,
  siteFacts,
} from "../edge/index.ts";
import { statePaths } from "../layout.ts";
import { mergeDocuments } from "../offline.ts";
import type { ApiClient } from "./client.ts";
import type { CliContext } from "./context.ts";
import { guestWorker, localSiteChild } from "./edge-dev.ts";
import { readSecrets, siteTrust, upstreamsOf } from "./edge-site.ts";
import { CliError } from "./output.ts";
import type { ChildSpec } from "./supervisor.ts";
import type { EdgePlan } from "./up-plan.ts";
import { portTaken } from "./up-ports.ts";

export interface PlannedSite {
  readonly facts: SiteFacts;
  readonly port: number;
  readonly page: string | undefined;
  readonly guests: readonly GuestWorker[];
  readonly credentials: ReturnType<typeof injectedCredentials>;
}

/** @throws CliError when the plan's site is not in the documents, or names another machine */
export function plannedSite(plan: EdgePlan, documents: readonly Document[], { now }: CliContext): PlannedSite {
  const { resources, problems } = mergeDocuments(documents, { nowMs: now(), files: diskFiles });
  const found = (resources as readonly Resource[]).find(
    ({ kind, metadata }) => kind === "EdgeSite" && metadata.name === plan.site,
  );
  if (found === undefined) {
    const why = problems.find(({ ref }) => ref?.kind === "EdgeSite")?.message ?? "it is in no file there";
    throw new CliError(`${plan.config}: EdgeSite ${plan.site}: ${why}`);
  }
  const facts = siteFacts(found);
  if (!facts.ok) throw new CliError(facts.error.map(({ path, problem }) => `${path}: ${problem}`).join("\n"));
  const port = loopbackPort(facts.value);
  if (port === undefined) {
    throw new CliError(
      `${found.source.file}: EdgeSite ${plan.site}: spec.url ${facts.value.url} names another machine; \`up\` runs a site of this one: http://127.0.0.1:8787`,
    );
  }
  const guests = plan.workers.map(({ name, file, port: own }) => guestWorker(`${name}=${file}`, own));
  const policies = resources.filter(({ kind }) => kind === "EgressPolicy");
  return { facts: facts.value, port, page: plan.page, guests, credentials: injectedCredentials(policies) };
}

/** One sentence for each of its ports that cannot be had. */
export async function takenSitePorts({ facts, port, guests }: PlannedSite): Promise<readonly string[]> {
  const wanted = [
    { what: `edge site ${facts.name}`, port, remedy: "choose another in the EdgeSite's url" },
    ...guests.map(({ name, address }) => ({
      what: `Worker ${name}`,
      port: Number(address.slice(address.lastIndexOf(":") + 1)),
      remedy: "choose another in up.json",
    })),
  ];
  const told = await Promise.all(wanted.map((one) => portTaken(one.what, one.port, one.remedy)));
  return told.filter((one) => one !== undefined);
}

/** Before the control plane starts: it reads the site's secrets as soon as it knows the site. */
export async function prepareSite({ facts }: PlannedSite, state: string): Promise<void> {
  await makeSiteSecrets(statePaths(join(state, "control")).secrets, facts.credentials, { rotate: false, proxyUsers: [] });
}

/** What the gateways on Node get to know besides, to count global quotas together with the site. */
export function siteFlags({ facts }: PlannedSite, state: string): readonly string[] {
  return ["--bank-token-file", bankTokenFile(statePaths(join(state, "control")).secrets, facts.credentials)];
}

export async function siteChild(
  { facts, port, guests, credentials }: PlannedSite,
  options: { readonly api: ApiClient; readonly state: string; readonly logs: string; readonly env: ChildSpec["env"] },
): Promise<ChildSpec> {
  const { api, state, logs, env } = options;
  const secrets = readSecrets({ state: join(state, "control") }, facts, credentials);
  const trust = await siteTrust(api, facts.audience);
  const folder = join(state, "edge", facts.name);
  const place = { port, folder, outputFile: join(logs, "edge.log") };
  const upstreams = await upstreamsOf(api, facts.audience, trust.floor);
  return await localSiteChild({ site: facts, trust, secrets, guests, upstreams, ...place }, env);
}
