/** A site as the command line finds it: the object from the control plane, what pins its trust, and its secrets from the folder on this machine. */
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { decodeSnapshotFile } from "../../gateway/core/ir/index.ts";
import type { ObjectsResponse, SnapshotListResponse, TrustResponse } from "../api/index.ts";
import { formatProblem } from "../config/resource.ts";
import {
  type CredentialRef,
  injectedCredentials,
  readCredentials,
  readProxyTokens,
  readSiteSecrets,
  type SiteFacts,
  type SiteSecrets,
  type SiteTrust,
  type SiteUpstream,
  siteFacts,
  siteUpstreams,
} from "../edge/index.ts";
import { DEFAULT_STATE, statePaths } from "../layout.ts";
import type { ApiClient } from "./client.ts";
import { type ApiFlags, withApi } from "./options.ts";
import { CliError } from "./output.ts";

export interface SecretFlags {
  readonly state: string;
  readonly secrets?: string;
}

export interface SiteFlags extends ApiFlags, SecretFlags {
  readonly namespace?: string;
}

export function withSite(command: Command): Command {
  return withApi(command)
    .argument("<site>", "name of an EdgeSite object")
    .option("-n, --namespace <namespace>", "of the EdgeSite, where two have the name")
    .option("--state <dir>", "the control plane's state directory", DEFAULT_STATE)
    .option("--secrets <dir>", "folder of secrets: <namespace>/<name>/<key> (default: secrets in the state directory)");
}

export function secretsFolder({ state, secrets }: SecretFlags): string {
  return secrets ?? statePaths(state).secrets;
}

/** Where a site that runs on this machine keeps its files: beside the control plane's state. */
export function siteFolder(state: string, site: string): string {
  return join(dirname(state), "edge", site);
}

export async function findSite(api: ApiClient, name: string, namespace: string | undefined): Promise<SiteFacts> {
  const { items } = await api.get<ObjectsResponse>("/objects?kind=EdgeSite");
  const found = items.filter(
    ({ metadata }) => metadata.name === name && (namespace ?? metadata.namespace) === metadata.namespace,
  );
  const [site] = found;
  if (site === undefined) {
    const known = items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(", ");
    throw new CliError(
      `there is no EdgeSite ${name}${namespace === undefined ? "" : ` in namespace ${namespace}`}; ${known === "" ? "there is none at all: apply one, docs/edge.md shows how" : `there are: ${known}`}`,
    );
  }
  if (found.length > 1) {
    const places = found.map(({ metadata }) => metadata.namespace).join(" and ");
    throw new CliError(`EdgeSite ${name} is in namespaces ${places}; say which one with -n`);
  }
  if (!site.status.accepted) {
    throw new CliError(
      `EdgeSite ${name} was not accepted; put it right first:\n${site.status.problems.map((problem) => formatProblem(problem)).join("\n")}`,
    );
  }
  const facts = siteFacts(site);
  if (!facts.ok) throw new CliError(facts.error.map(({ path, problem }) => `${path}: ${problem}`).join("\n"));
  return facts.value;
}

/** A site's snapshots are made for one runtime: on the other one, some of its routes could not be what they say. */
export function requireRuntime({ name, runtime }: SiteFacts, wanted: SiteFacts["runtime"], what: string): void {
  if (runtime === wanted) return;
  throw new CliError(
    `EdgeSite ${name}: spec.runtime is ${runtime}, and ${what} runs it on ${wanted}; write runtime: ${wanted}, or make another EdgeSite for it`,
  );
}

/** The pin, and the version in force as the floor. */
export async function siteTrust(api: ApiClient, audience: string): Promise<SiteTrust> {
  const { pin } = await api.get<TrustResponse>("/trust");
  const { items } = await api.get<SnapshotListResponse>(`/snapshots?pool=${encodeURIComponent(audience)}`);
  return { pin, floor: items.find(({ current }) => current)?.version };
}

/** Servers that workerd has to be told of beforehand, out of the snapshot in force; without one, none. */
export async function upstreamsOf(
  api: ApiClient,
  audience: string,
  version: string | undefined,
): Promise<readonly SiteUpstream[]> {
  if (version === undefined) return [];
  const file = await api.get<unknown>(`/snapshots/${encodeURIComponent(audience)}/${version}`);
  const decoded = await decodeSnapshotFile(new TextEncoder().encode(JSON.stringify(file)), `${audience}@${version}`);
  if (!decoded.ok) throw new CliError(decoded.error.map(({ path, problem }) => `${path}: ${problem}`).join("\n"));
  return siteUpstreams(decoded.value.snapshot);
}

/** Credentials that the EgressPolicies in force let a site inject. */
export async function siteCredentials(api: ApiClient): Promise<readonly CredentialRef[]> {
  const { items } = await api.get<ObjectsResponse>("/objects?kind=EgressPolicy");
  return injectedCredentials(items.filter(({ status }) => status.accepted));
}

export interface SecretValues {
  readonly site: SiteSecrets;
  /** Of the egress Worker: what it injects, and the tokens of its callers over HTTPS. */
  readonly credentials: Readonly<Record<string, string>>;
}

/** @throws CliError that names every missing or unusable file, and never a value. */
export function readSecrets(flags: SecretFlags, site: SiteFacts, credentials: readonly CredentialRef[]): SecretValues {
  const folder = secretsFolder(flags);
  const own = readSiteSecrets(folder, site.credentials, site.name);
  const injected = readCredentials(folder, credentials);
  const tokens = readProxyTokens(folder, site.credentials, site.name);
  if (!own.ok || !injected.ok || !tokens.ok) {
    const issues = [own, injected, tokens].flatMap((one) => (one.ok ? [] : one.error));
    throw new CliError(issues.map(({ problem }) => problem).join("\n"));
  }
  return { site: own.value, credentials: { ...injected.value, ...tokens.value } };
}
