import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { ListenerProtocol, Snapshot } from "../../../gateway/core/ir/index.ts";
import type { GatewayState, JoinTokenResponse, StatusResponse } from "../../api/index.ts";
import { diskFiles } from "../../disk-files.ts";
import { plannedPools } from "../../offline.ts";
import { childEnv, followChildren } from "../children.ts";
import type { CliContext } from "../context.ts";
import { siteReady } from "../edge-dev.ts";
import { type Ending, until, untilSignal } from "../ending.ts";
import { readDocuments } from "../files.ts";
import { wholeNumber } from "../options.ts";
import { CliError, type Terminal, tinted } from "../output.ts";
import { type ChildSpec, Supervisor } from "../supervisor.ts";
import { type PlannedSite, plannedSite, prepareSite, siteChild, siteFlags, takenSitePorts } from "../up-edge.ts";
import { type EdgePlan, readPlan, type UpPlan } from "../up-plan.ts";
import { type SideDoors, takenPorts, type UpPorts, upPorts } from "../up-ports.ts";
import { gatewayTables } from "./status.ts";

interface UpFlags {
  readonly state: string;
  readonly threads: number;
  readonly portOffset: number;
  readonly quiet?: boolean;
  readonly edge?: boolean;
}

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

export function registerUp(program: Command, context: CliContext): void {
  program
    .command("up")
    .description("control plane, gateways and sample in one go, on this machine")
    .argument("[folder]", "folder with YAML, or with an up.json that names it and the programs to run", "samples/bookinfo")
    .option("--state <dir>", "where keys, snapshots and logs are kept", ".tidegate")
    .option("--threads <n>", "worker threads of each gateway", wholeNumber, 1)
    .option("--port-offset <n>", "added to the ports of API, gateways' stream, admin, metrics and readiness", wholeNumber, 0)
    .option("--edge", "an edge site in front as well, as up.json describes it")
    .option("--quiet", "only what goes wrong")
    .addHelpText(
      "after",
      "\nExamples:\n  npm start\n  npm run edge\n  npx tidegate up my-mesh/ --state /tmp/my-mesh\n\nCtrl-C drains the gateways and stops everything.",
    )
    .action(async (folder: string, flags: UpFlags) => await up(readPlan(folder), folder, flags, context));
}

async function up(plan: UpPlan, folder: string, flags: UpFlags, context: CliContext): Promise<void> {
  const { terminal } = context;
  const edge = flags.edge === true ? edgePlan(plan, folder) : undefined;
  const configs = [plan.config, ...(edge === undefined ? [] : [edge.config])];
  const documents = await readDocuments(configs, context);
  const site = edge && plannedSite(edge, documents, context);
  const planned = plannedPools({ documents, files: diskFiles, nowMs: context.now() });
  const ports = upPorts(
    planned.map(({ name }) => name),
    flags.portOffset,
  );
  const taken = [...(await takenPorts(ports, planned)), ...(site === undefined ? [] : await takenSitePorts(site))];
  if (taken.length > 0) throw new CliError(taken.join("\n"));
  const state = resolve(flags.state);
  const logs = join(state, "logs");
  prepare(logs);
  if (site !== undefined) await prepareSite(site, state);
  const started = performance.now();
  const ending = untilSignal();
  const supervisor = new Supervisor(followChildren(terminal, flags.quiet === true, ending));
  const child = (name: string, command: ChildSpec["command"], cwd = process.cwd()): void =>
    supervisor.start({ name, command, cwd, env: childEnv(context.env), outputFile: join(logs, `${name}.log`) });
  try {
    const control = join(state, "control");
    child("control", [process.execPath, join(ROOT, "controlplane", "main.ts"), ...controlFlags(configs, control, ports)]);
    const tokenFile = await untilToken(join(control, "api.token"), ending);
    const api = context.api({ tokenFile, api: `http://127.0.0.1:${ports.api}` });
    const pools = await until("the control plane", ending, async () =>
      (await api.get<StatusResponse>("/status")).pools.filter((pool) => pool.version !== undefined && pool.site === undefined),
    );
    for (const { name } of pools) {
      const { token } = await api.post<JoinTokenResponse>("/join-tokens", { pool: name });
      const own = gatewayFlags(name, token, { state, ports, threads: flags.threads });
      const edge = site === undefined ? [] : siteFlags(site, state);
      child(name, [process.execPath, join(ROOT, "gateway", "node", "main.ts"), ...own, ...edge]);
    }
    for (const { name, command, cwd } of plan.programs) child(name, command, cwd);
    if (site !== undefined) supervisor.start(await siteChild(site, { api, state, logs, env: childEnv(context.env) }));
    if (site !== undefined) await until(`edge site ${site.facts.name}`, ending, () => siteReady(site.port, site.facts));
    const wanted = [...pools.map(({ name }) => name), ...(site === undefined ? [] : [site.facts.audience])];
    const gateways = await until("the gateways", ending, async () => {
      const all = (await api.get<StatusResponse>("/status")).pools.flatMap((pool) => pool.gateways);
      return wanted.every((name) => all.some((one) => one.pool === name && SETTLED.has(one.state))) ? all : undefined;
    });
    supervisor.steady();
    const tookMs = Math.round(performance.now() - started);
    terminal.out(summary(terminal, { plan, site, folder, ports, listeners: await reportedListeners(ports), tookMs }));
    const behind = gateways.filter((gateway) => gateway.state === "partial" || gateway.state === "refused");
    if (behind.length > 0) terminal.out(`${gatewayTables(terminal, behind, context.now())}\n`);
    await ending.promise;
    if (ending.failure() !== undefined) throw new CliError(ending.failure() ?? "");
    terminal.error(tinted(terminal, "stopping: gateways finish what they have begun\n", "dim"));
  } finally {
    ending.whenUrged(() => supervisor.kill());
    await supervisor.stop();
  }
}

/** A gateway in one of these states has answered what it was offered. */
const SETTLED: ReadonlySet<GatewayState> = new Set(["synced", "partial", "refused"]);

function edgePlan({ edge }: UpPlan, folder: string): EdgePlan {
  if (edge !== undefined) return edge;
  throw new CliError(
    `--edge: ${join(folder, "up.json")} describes no edge site; add "edge": { "config": "<folder>", "site": "<name>" } as in samples/bookinfo/up.json`,
    2,
  );
}

function controlFlags(configs: readonly string[], state: string, ports: UpPorts): string[] {
  const places = [...configs.flatMap((config) => ["--config", config]), "--state", state, "--log-format", "json"];
  return [...places, "--api-port", String(ports.api), "--grpc-port", String(ports.grpc)];
}

interface GatewayPlace {
  readonly state: string;
  readonly ports: UpPorts;
  readonly threads: number;
}

/** The token goes into a file: a flag would show it to whoever lists processes. */
function gatewayFlags(name: string, token: string, { state, ports, threads }: GatewayPlace): string[] {
  const joinToken = join(state, `${name}.join-token`);
  writeFileSync(joinToken, token, { mode: 0o600 });
  return [
    ...["--pool", name, "--gateway-id", `${name}-1`, "--control", `127.0.0.1:${ports.grpc}`, "--state", join(state, name)],
    ...["--join-token-file", joinToken, "--threads", String(threads)],
    ...doorFlags(ports.pools.get(name)),
  ];
}

function doorFlags(doors: SideDoors | undefined): string[] {
  const { admin, metrics, readiness } = doors ?? { admin: 0, metrics: 0, readiness: 0 };
  return ["--admin-port", String(admin), "--metrics-port", String(metrics), "--readiness-port", String(readiness)];
}

function prepare(logs: string): void {
  try {
    mkdirSync(logs, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CliError(
      `--state: ${error instanceof Error ? error.message : String(error)}; give a folder that this user can write to`,
    );
  }
}

async function untilToken(file: string, ending: Ending): Promise<string> {
  return await until("the control plane", ending, () => Promise.resolve(existsSync(file) ? file : undefined));
}

interface ReportedListener {
  readonly pool: string;
  readonly bind: string;
  readonly port: number;
  readonly protocol: ListenerProtocol;
}

/** Where the gateways listen, as they say themselves. One that does not answer is left out: `status` tells about it. */
async function reportedListeners(ports: UpPorts): Promise<readonly ReportedListener[]> {
  const told = await Promise.allSettled(
    [...ports.pools].map(async ([pool, { admin }]) => {
      const answer = await fetch(`http://127.0.0.1:${admin}/config_dump`);
      const { snapshot } = (await answer.json()) as { snapshot: Pick<Snapshot, "listeners"> };
      return snapshot.listeners.map(({ bind, port, protocol }) => ({ pool, bind, port, protocol }));
    }),
  );
  return told.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
}

interface Summary {
  readonly plan: UpPlan;
  readonly site: PlannedSite | undefined;
  readonly folder: string;
  readonly ports: UpPorts;
  readonly listeners: readonly ReportedListener[];
  readonly tookMs: number;
}

function summary(terminal: Terminal, { plan, site, folder, ports, listeners, tookMs }: Summary): string {
  const bold = (text: string) => tinted(terminal, text, "bold");
  const [first] = ports.pools.values();
  const rows: [string, string][] = [
    ...(plan.page === undefined ? [] : ([["page", plan.page]] as [string, string][])),
    ...(site === undefined ? [] : siteRows(site)),
    ...listeners.filter(isProxy).map((one): [string, string] => [`${one.pool} proxy`, urlOf(one)]),
    ...listeners.filter((one) => !isProxy(one)).map((one): [string, string] => [one.pool, urlOf(one)]),
    ["API", `http://127.0.0.1:${ports.api}`],
    ...(first === undefined ? [] : ([["metrics", `http://127.0.0.1:${first.metrics}/metrics`]] as [string, string][])),
    ["configuration", `${folder} (edit a file: gateways follow at once)`],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(14)} ${bold(value)}\n`).join("");
  return `\n${tinted(terminal, `Tidegate is up after ${tookMs} ms`, "good")}\n${lines}\n  next: ${bold("npx tidegate status")}, ${bold("npx tidegate get")}; Ctrl-C stops everything\n\n`;
}

function siteRows({ facts, page, guests }: PlannedSite): [string, string][] {
  const workers = guests.map(({ name, address }): [string, string] => [`edge ${name}`, `http://${address}`]);
  return [[`edge ${facts.name}`, page ?? facts.url], ...workers];
}

function isProxy({ protocol }: ReportedListener): boolean {
  return protocol === "forward-proxy";
}

function urlOf({ bind, port, protocol }: ReportedListener): string {
  const anywhere = bind === "0.0.0.0" || bind === "::";
  const host = anywhere ? "127.0.0.1" : bind.includes(":") ? `[${bind}]` : bind;
  return `${protocol === "https" ? "https" : "http"}://${host}:${port}`;
}
