/** Drives wrangler: both Workers of a site, then their secrets, which go in through standard input and are seen in no list of processes. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import {
  EGRESS,
  ENTRIES,
  INGRESS,
  MAX_WORKER_NAME_CHARS,
  type SiteFacts,
  type SiteTrust,
  workerNames,
  wranglerToml,
} from "../edge/index.ts";
import type { CliContext } from "./context.ts";
import type { SecretValues } from "./edge-site.ts";
import { CliError } from "./output.ts";

export interface Deployment {
  readonly site: SiteFacts;
  readonly trust: SiteTrust;
  readonly secrets: SecretValues;
  /** Further host names that lead to the ingress Worker. */
  readonly hosts: readonly string[];
  readonly folder: string;
  readonly dryRun: boolean;
}

export interface DeployedWorker {
  readonly environment: string;
  readonly worker: string;
  /** Names, never values. */
  readonly secrets: readonly string[];
}

type Env = Readonly<Record<string, string | undefined>>;

/** @throws CliError with wrangler's own words when it refuses */
export async function deploySite(deployment: Deployment, { env, terminal }: CliContext): Promise<readonly DeployedWorker[]> {
  const { site, trust, secrets, hosts, folder, dryRun } = deployment;
  const names = workerNames(site.name);
  for (const name of Object.values(names)) {
    if (name.length > MAX_WORKER_NAME_CHARS) {
      throw new CliError(
        `the Worker would be called ${name}, of ${name.length} characters: Cloudflare takes ${MAX_WORKER_NAME_CHARS}; give the EdgeSite a shorter name`,
      );
    }
  }
  const config = join(folder, "wrangler.toml");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(
    config,
    wranglerToml({ site, trust, entries: ENTRIES, remarks: [`Made by: tidegate edge deploy ${site.name}`, ""] }),
  );
  const run = async (args: readonly string[], input?: string): Promise<void> =>
    await wrangler(["--config", config, ...args], { env, input, say: (text) => terminal.error(text) });
  const workers = [
    { environment: INGRESS, worker: names.ingress, values: secrets.site, extra: hosts.flatMap((host) => ["--domain", host]) },
    { environment: EGRESS, worker: names.egress, values: secrets.credentials, extra: [] },
  ];
  const done: DeployedWorker[] = [];
  for (const { environment, worker, values, extra } of workers) {
    const where = ["--env", environment];
    await run(["deploy", ...where, ...extra, ...(dryRun ? ["--dry-run", "--outdir", join(folder, environment)] : [])]);
    if (!dryRun && Object.keys(values).length > 0) await run(["secret", "bulk", ...where], JSON.stringify(values));
    done.push({ environment, worker, secrets: Object.keys(values) });
  }
  return done;
}

/** How wrangler complains when it does not know on whose behalf it acts. */
const NO_ACCOUNT = /CLOUDFLARE_API_TOKEN|not logged in|not authenticated|Authentication error|No account/i;
const ACCOUNT_REMEDY =
  "there is no Cloudflare account to deploy to: log in once with `npx wrangler login`, or put an API token that may edit Workers into CLOUDFLARE_API_TOKEN (and CLOUDFLARE_ACCOUNT_ID where it has several accounts). `--dry-run` needs neither, and `tidegate edge config` runs the site without Cloudflare";

interface Run {
  readonly env: Env;
  readonly input: string | undefined;
  readonly say: (text: string) => void;
}

/** Its output goes to standard error: standard output is for the answer. */
async function wrangler(args: readonly string[], { env, input, say }: Run): Promise<void> {
  const child = spawn(process.execPath, [wranglerScript(), ...args], {
    env: { WRANGLER_SEND_METRICS: "false", WRANGLER_SEND_ERROR_REPORTS: "false", ...env } as NodeJS.ProcessEnv,
    stdio: ["pipe", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes: Buffer) => {
      said += bytes.toString();
      say(bytes.toString());
    });
  }
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number | null>((done, fail) => {
    child.once("error", fail);
    child.once("close", done);
  });
  if (code === 0) return;
  if (NO_ACCOUNT.test(said)) throw new CliError(ACCOUNT_REMEDY);
  throw new CliError(`wrangler ${args[2] ?? ""} failed (exit code ${code}); what it said stands above`);
}

function wranglerScript(): string {
  try {
    const manifest = createRequire(import.meta.url).resolve("wrangler/package.json");
    return join(dirname(manifest), "bin", "wrangler.js");
  } catch {
    throw new CliError("wrangler is not installed: run npm ci");
  }
}
