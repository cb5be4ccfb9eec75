/** Objects as YAML → the translation of one pool, through validation, references and registry, as the control plane does it. */
import { Document, isCollection, isPair, isScalar, visit } from "yaml";
import {
  type AnyResource,
  checkReferences,
  DEFAULT_MESH_CONFIG,
  formatProblem,
  type Problem,
  problemsOf,
  refKey,
  refOf,
  validateText,
} from "../../controlplane/config/index.ts";
import { buildRegistry } from "../../controlplane/registry/index.ts";
import {
  bankSite,
  type Pool,
  planSites,
  type SiteKey,
  type SitePool,
  siteDemands,
  translate,
} from "../../controlplane/translate/index.ts";
import { DEFAULT_SETTINGS, type Snapshot } from "../../gateway/core/ir/index.ts";

export interface TextTranslation {
  readonly snapshot: Snapshot;
  readonly problems: readonly Problem[];
  readonly programmed: readonly string[];
}

/** `reorder` shuffles the accepted objects, which must leave no trace. */
export function translateText(
  text: string,
  file: string,
  reorder: (objects: readonly AnyResource[]) => readonly AnyResource[] = (objects) => objects,
): TextTranslation {
  const validation = validateText(text, file, { nowMs: 0 });
  const accepted = validation.objects.flatMap(({ resource }) => resource ?? []);
  const config = reorder(accepted);
  const mesh = accepted.find((resource) => resource.kind === "MeshConfig")?.spec ?? DEFAULT_MESH_CONFIG;
  const poolName = comment(text, "pool") ?? "ingress";
  const planned = planSites(config, mesh);
  const pool: Pool | undefined = [...mesh.gatewayPools, ...planned.pools].find(({ name }) => name === poolName);
  if (pool === undefined) throw new Error(`${file}: there is no pool ${poolName}`);
  const namespace = comment(text, "namespace");
  const { registry, problems } = buildRegistry(config);
  const input = { config, registry, mesh, bank: bankSite(planned.pools, config) };
  const sites = planned.pools.map((site) => ({ pool: site, snapshot: translate({ ...input, pool: site }).snapshot }));
  const asked = siteDemands(sites, siteKeys(text, planned.pools), config, mesh);
  const translation = translate({
    ...input,
    pool: namespace === undefined ? pool : { ...pool, namespace },
    ...(pool.site === undefined && { sites: asked.demands }),
  });
  const between = [...checkReferences(accepted), ...problems, ...planned.problems, ...asked.problems];
  return {
    snapshot: translation.snapshot,
    problems: [...problemsOf(validation), ...between, ...translation.problems],
    programmed: translation.programmed.map(({ kind, namespace: ns, name }) => `${kind} ${ns}/${name}`),
  };
}

/** `# key: <site> <x>`: the site's public key, whose kid is the site's name. */
function siteKeys(text: string, sites: readonly SitePool[]): ReadonlyMap<string, SiteKey> {
  const keys = new Map([...text.matchAll(/^# key: (\S+) (\S+)$/gm)].map(([, site = "", x = ""]) => [site, { kid: site, x }]));
  return new Map(
    sites.flatMap(({ site }) => {
      const key = keys.get(site.metadata.name);
      return key === undefined ? [] : [[refKey(refOf(site)), key]];
    }),
  );
}

function comment(text: string, name: string): string | undefined {
  return new RegExp(`^# ${name}: (\\S+)$`, "m").exec(text)?.[1];
}

/** The pair's two texts. */
export function formatPairs(
  snapshot: Snapshot,
  problems: readonly Problem[],
): { readonly ir: string; readonly problems: string } {
  const { settings, ...rest } = snapshot;
  const standard = JSON.stringify(settings) === JSON.stringify(DEFAULT_SETTINGS);
  const lines = problems.map((problem) => `${problem.severity}: ${formatProblem(problem)}\n`);
  return { ir: toYaml(standard ? rest : { settings, ...rest }), problems: lines.join("") };
}

/** Lists and maps of plain values on one line each, so that a pair stays short enough to be read. */
function toYaml(value: unknown): string {
  const document = new Document(JSON.parse(JSON.stringify(value)), { aliasDuplicateObjects: false });
  visit(document, {
    Collection(_, node) {
      node.flow = node.items.every((item) => (isPair(item) ? isScalar(item.value) : isScalar(item)) && !isCollection(item));
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}
