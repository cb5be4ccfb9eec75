/** A real workerd on loopback: Workers bundled from their source, Durable Objects with SQLite, one process, always ended. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  bundleWorker,
  type WorkerdConfig,
  type WorkerdWorker,
  workerdBinary,
  workerdConfig,
} from "../../controlplane/edge/index.ts";
import { type Running, start, untilPort } from "../tools/processes.ts";

export interface TestWorker extends Omit<WorkerdWorker, "file"> {
  /** Source file, relative to the root of the project. */
  readonly entry: string;
}

export interface TestWorkerd extends Omit<WorkerdConfig, "workers"> {
  readonly workers: readonly TestWorker[];
}

const bundles = new Map<string, Promise<string>>();

function codeOf(entry: string): Promise<string> {
  let code = bundles.get(entry);
  if (code === undefined) {
    code = bundleWorker(entry).then((bundle) => bundle.code);
    bundles.set(entry, code);
  }
  return code;
}

/**
 * @param directory scratch folder; what `storage` names relative to it is made
 * @param env of the process, for bindings of kind `fromEnvironment`
 * @param cpus processors to be pinned to
 */
export async function startWorkerd(
  directory: string,
  config: TestWorkerd,
  env: NodeJS.ProcessEnv = {},
  cpus?: string,
): Promise<Running> {
  mkdirSync(directory, { recursive: true });
  const workers = await Promise.all(
    config.workers.map(async ({ entry, ...worker }): Promise<WorkerdWorker> => {
      const file = `${worker.name}.js`;
      writeFileSync(join(directory, file), await codeOf(entry));
      return { ...worker, file };
    }),
  );
  if (config.storage !== undefined) mkdirSync(join(directory, config.storage), { recursive: true });
  const storage = config.storage === undefined ? {} : { storage: join(directory, config.storage) };
  writeFileSync(join(directory, "workerd.capnp"), workerdConfig({ ...config, workers, ...storage }));
  const binary = workerdBinary();
  if (!binary.ok) throw new Error(binary.error);
  const running = start("workerd", [binary.value, "serve", join(directory, "workerd.capnp"), "--experimental"], {
    env: { ...process.env, ...env },
    ...(cpus !== undefined && { cpus }),
  });
  for (const { address } of config.sockets) await untilPort(running, Number(address.slice(address.lastIndexOf(":") + 1)));
  return running;
}
