/** A door for what the command line does without a running control plane: read a set, plan pools, sign snapshots into a history, hash passwords. */
import type { FileReader } from "./config/index.ts";
import type { Problem } from "./config/resource.ts";
import { statePaths } from "./layout.ts";
import { mergeDocuments } from "./offline-set.ts";
import { agesOf, meshOf, rolloutAfterS, runPipeline, siteSizes } from "./pipeline.ts";
import { readProxyUsers } from "./proxy-users.ts";
import { secretDirectory } from "./secrets.ts";
import { readSiteKeys } from "./site-keys.ts";
import { loadKeys, type Published, SnapshotHistory, SnapshotPublisher } from "./snapshot/index.ts";

export { mergeDocuments } from "./offline-set.ts";
export { isProxyUserName, proxyUserLine } from "./proxy-users.ts";

export interface PlannedPool {
  readonly name: string;
  readonly listeners: readonly { readonly bind: string; readonly port: number }[];
}

/** The pools of gateways that the documents make, and where those will listen. What is wrong in them is the control plane's to tell. */
export function plannedPools(
  options: Pick<OfflineOptions, "documents" | "files"> & { readonly nowMs: number },
): readonly PlannedPool[] {
  const { pools } = runPipeline(mergeDocuments(options.documents, options), []);
  return pools.flatMap(({ pool, snapshot }) =>
    pool.site === undefined ? [{ name: pool.name, listeners: snapshot.listeners }] : [],
  );
}

export interface OfflineOptions {
  readonly documents: readonly { readonly file: string; readonly text: string }[];
  /** State directory with keys and history. */
  readonly state: string;
  /** Directory of secrets; undefined: below the state directory. */
  readonly secrets?: string | undefined;
  readonly files: FileReader;
  readonly unixMs: () => number;
  /** Only these pools. */
  readonly pools: readonly string[];
}

export interface OfflineOutcome {
  readonly published: readonly Published[];
  readonly problems: readonly Problem[];
  /** Every pool of the mesh. */
  readonly pools: readonly string[];
  /** Why nothing could be signed or published. */
  readonly failure: string | undefined;
}

export async function buildSnapshots(options: OfflineOptions): Promise<OfflineOutcome> {
  const set = mergeDocuments(options.documents, { nowMs: options.unixMs(), files: options.files });
  const { users } = readProxyUsers(meshOf(set.resources).proxyUsers.file);
  const paths = statePaths(options.state);
  const sites = readSiteKeys(set.resources, secretDirectory(options.secrets ?? paths.secrets));
  const output = runPipeline(set, users, sites.keys);
  const problems = [...set.problems, ...sites.problems, ...output.problems];
  const pools = output.pools.map(({ pool }) => pool.name);
  const keys = await loadKeys(paths.keys);
  if (!keys.ok)
    return { published: [], problems, pools, failure: keys.error.map(({ path, problem }) => `${path}: ${problem}`).join("; ") };
  const history = await SnapshotHistory.open(paths.snapshots);
  const publisher = new SnapshotPublisher({
    history,
    keys: keys.value,
    clock: { unixMs: options.unixMs },
    ages: agesOf(output.mesh),
  });
  publisher.useSizeLimits(siteSizes(output));
  const published: Published[] = [];
  for (const { pool, snapshot } of output.pools) {
    if (!options.pools.includes(pool.name)) continue;
    const outcome = await publisher.publish(pool.name, snapshot, { afterS: rolloutAfterS(output.mesh, pool) });
    if (outcome.kind === "refused") {
      const failure = outcome.issues.map(({ path, problem }) => `${path}: ${problem}`).join("; ");
      return { published, problems, pools, failure: `pool ${pool.name}: ${failure}` };
    }
    published.push(outcome.published);
  }
  return { published, problems, pools, failure: undefined };
}
