import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { ListenerProtocol, Snapshot } from "../../../gateway/core/ir/index.ts";
import type { GatewayState, JoinTokenResponse, StatusResponse } from "../../api/index.ts";
import { diskFiles } from "../../disk-files.ts";
import { plannedPools } from "../../offline.ts";
import type { CliContext } from "../context.ts";
import { readDocuments } from "../files.ts";
import { wholeNumber } from "../options.ts";
import { CliError, clean, type Terminal, tinted } from "../output.ts";
import { type ChildSpec, Supervisor, type SupervisorEvents } from "../supervisor.ts";
import { readPlan, type UpPlan } from "../up-plan.ts";
import { type SideDoors, takenPorts, type UpPorts, upPorts } from "../up-ports.ts";
import { gatewayTables } from "./status.ts";

interface UpFlags {
  readonly state: string;
  readonly threads: number;
  readonly portOffset: number;
  readonly quiet?: boolean;
}

const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 50;
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

export function registerUp(program: Command, context: CliContext): void {
  program
    .command("up")
    .description("control plane, gateways and sample in one go, on this machine")
    .argument("[folder]", "folder with YAML, or with an up.json that names it and the programs to run", "samples/bookinfo")
    .option("--state <dir>", "where keys, snapshots and logs are kept", ".tidegate")
    .option("--threads <n>", "worker threads of each gateway", wholeNumber, 1)
    .option("--port-offset <n>", "added to the ports of API, gateways' stream, admin, metrics and readiness", wholeNumber, 0)
    .option("--quiet", "only what goes wrong")
    .addHelpText(
      "after",
      "\nExamples:\n  npm start\n  npx tidegate up my-mesh/ --state /tmp/my-mesh\n\nCtrl-C drains the gateways and stops everything.",
    )
    .action(async (folder: string, flags: UpFlags) => await up(readPlan(folder), folder, flags, context));
}

async function up(plan: UpPlan, folder: string, flags: UpFlags, context: CliContext): Promise<void> {
  const { terminal } = context;
  const planned = plannedPools({
    documents: await readDocuments([plan.config], context),
    files: diskFiles,
    nowMs: context.now(),
  });
  const ports = upPorts(
    planned.map(({ name }) => name),
    flags.portOffset,
  );
  const taken = await takenPorts(ports, planned);
  if (taken.length > 0) throw new CliError(taken.join("\n"));
  const state = resolve(flags.state);
  const logs = join(state, "logs");
  prepare(logs);
  const started = performance.now();
  const ending = untilSignal();
  const supervisor = new Supervisor(followChildren(terminal, flags.quiet === true, ending));
  const child = (name: string, command: ChildSpec["command"], cwd = process.cwd()): void =>
    supervisor.start({ name, command, cwd, env: childEnv(context.env), outputFile: join(logs, `${name}.log`) });
  try {
    const control = join(state, "control");
    child("control", [process.execPath, join(ROOT, "controlplane", "main.ts"), ...controlFlags(plan, control, ports)]);
    const tokenFile = await untilToken(join(control, "api.token"), ending);
    const api = context.api({ tokenFile, api: `http://127.0.0.1:${ports.api}` });
    const pools = await until("the control plane", ending, async () =>
      (await api.get<StatusResponse>("/status")).pools.filter((pool) => pool.version !== undefined && pool.site === undefined),
    );
    for (const { name } of pools) {
      const { token } = await api.post<JoinTokenResponse>("/join-tokens", { pool: name });
      const joinToken = join(state, `${name}.join-token`);
      writeFileSync(joinToken, token, { mode: 0o600 });
      child(name, [
        process.execPath,
        join(ROOT, "gateway", "node", "main.ts"),
        ...["--pool", name, "--gateway-id", `${name}-1`, "--control", `127.0.0.1:${ports.grpc}`, "--state", join(state, name)],
        ...["--join-token-file", joinToken, "--threads", String(flags.threads)],
        ...doorFlags(ports.pools.get(name)),
      ]);
    }
    for (const { name, command, cwd } of plan.programs) child(name, command, cwd);
    const gateways = await until("the gateways", ending, async () => {
      const all = (await api.get<StatusResponse>("/status")).pools.flatMap((pool) => pool.gateways);
      return pools.every(({ name }) => all.some((one) => one.pool === name && SETTLED.has(one.state))) ? all : undefined;
    });
    supervisor.steady();
    const tookMs = Math.round(performance.now() - started);
    terminal.out(summary(terminal, { plan, folder, ports, listeners: await reportedListeners(ports), tookMs }));
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

function controlFlags(plan: UpPlan, state: string, ports: UpPorts): string[] {
  const places = ["--config", plan.config, "--state", state, "--log-format", "json"];
  return [...places, "--api-port", String(ports.api), "--grpc-port", String(ports.grpc)];
}

function doorFlags(doors: SideDoors | undefined): string[] {
  const { admin, metrics, readiness } = doors ?? { admin: 0, metrics: 0, readiness: 0 };
  return ["--admin-port", String(admin), "--metrics-port", String(metrics), "--readiness-port", String(readiness)];
}

/** Shows what children say. One that ends before everything is up ends it all: nothing would change by another try. */
function followChildren(terminal: Terminal, quiet: boolean, ending: Ending): SupervisorEvents {
  const last = new Map<string, string>();
  return {
    line: (name, line) => {
      last.set(name, line);
      if (!quiet || /"level":"(warn|error)"/.test(line)) terminal.error(prefixed(terminal, name, line));
    },
    died: (name, how, restartMs) => {
      if (restartMs === undefined)
        ending.fail(`${name} ended (${how}): ${readable(terminal, last.get(name) ?? "it said nothing")}`);
      else
        terminal.error(prefixed(terminal, name, tinted(terminal, `ended (${how}); starting it again in ${restartMs} ms`, "bad")));
    },
  };
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

interface Ending {
  readonly promise: Promise<void>;
  readonly over: () => boolean;
  /** Why it ended by itself. */
  readonly failure: () => string | undefined;
  fail(why: string): void;
  /** Calls back when a signal comes again. */
  whenUrged(hurry: () => void): void;
}

/** A signal so soon after the first is the same one told twice: a terminal tells a whole group, and npm passes it on. */
const SAME_SIGNAL_MS = 1000;

/** Signals are heard until the process ends: the default action of a second one would leave the children behind. */
function untilSignal(): Ending {
  let over = false;
  let failure: string | undefined;
  let end = (): void => undefined;
  let hurry = (): void => undefined;
  const promise = new Promise<void>((done) => {
    end = () => {
      over = true;
      done();
    };
  });
  let firstMs: number | undefined;
  const signalled = (): void => {
    firstMs ??= performance.now();
    if (performance.now() - firstMs > SAME_SIGNAL_MS) hurry();
    else end();
  };
  process.on("SIGINT", signalled);
  process.on("SIGTERM", signalled);
  const fail = (why: string): void => {
    failure ??= why;
    end();
  };
  const whenUrged = (run: () => void): void => {
    hurry = run;
  };
  return { promise, over: () => over, failure: () => failure, fail, whenUrged };
}

/** Asks until there is an answer; failures on the way are only told when the time is over. */
async function until<T>(what: string, ending: Ending, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  let why = "";
  while (performance.now() < deadline && !ending.over()) {
    try {
      const answer = await ask();
      if (answer !== undefined && !(Array.isArray(answer) && answer.length === 0)) return answer;
    } catch (error) {
      why = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
  if (ending.over()) throw new CliError(ending.failure() ?? "stopped");
  throw new CliError(`${what} did not become ready within ${READY_TIMEOUT_MS / 1000} s${why}; see the lines above`);
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

/** Children get no `TIDEGATE_*` of this shell: what they need is in their flags. */
function childEnv(env: CliContext["env"]): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("TIDEGATE_")));
}

function prefixed(terminal: Terminal, name: string, line: string): string {
  return `${tinted(terminal, name.padEnd(8), "dim")} ${readable(terminal, line)}\n`;
}

/** A JSON log line as a person reads it; anything else as it is. */
function readable(terminal: Terminal, line: string): string {
  try {
    const { time: _time, level, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
    if (typeof message !== "string") return clean(line);
    const rest = Object.entries(fields).map(
      ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    const told = clean([message, ...rest].join(" "));
    return level === "error" ? tinted(terminal, told, "bad") : level === "warn" ? tinted(terminal, told, "warn") : told;
  } catch {
    return clean(line);
  }
}

interface Summary {
  readonly plan: UpPlan;
  readonly folder: string;
  readonly ports: UpPorts;
  readonly listeners: readonly ReportedListener[];
  readonly tookMs: number;
}

function summary(terminal: Terminal, { plan, folder, ports, listeners, tookMs }: Summary): string {
  const bold = (text: string) => tinted(terminal, text, "bold");
  const [first] = ports.pools.values();
  const rows: [string, string][] = [
    ...(plan.page === undefined ? [] : ([["page", plan.page]] as [string, string][])),
    ...listeners.filter(isProxy).map((one): [string, string] => [`${one.pool} proxy`, urlOf(one)]),
    ...listeners.filter((one) => !isProxy(one)).map((one): [string, string] => [one.pool, urlOf(one)]),
    ["API", `http://127.0.0.1:${ports.api}`],
    ...(first === undefined ? [] : ([["metrics", `http://127.0.0.1:${first.metrics}/metrics`]] as [string, string][])),
    ["configuration", `${folder} (edit a file: gateways follow at once)`],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(14)} ${bold(value)}\n`).join("");
  return `\n${tinted(terminal, `Tidegate is up after ${tookMs} ms`, "good")}\n${lines}\n  next: ${bold("npx tidegate status")}, ${bold("npx tidegate get")}; Ctrl-C stops everything\n\n`;
}

function isProxy({ protocol }: ReportedListener): boolean {
  return protocol === "forward-proxy";
}

function urlOf({ bind, port, protocol }: ReportedListener): string {
  const anywhere = bind === "0.0.0.0" || bind === "::";
  const host = anywhere ? "127.0.0.1" : bind.includes(":") ? `[${bind}]` : bind;
  return `${protocol === "https" ? "https" : "http"}://${host}:${port}`;
}
