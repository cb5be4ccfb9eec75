import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { JoinTokenResponse, StatusResponse } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { wholeNumber } from "../options.ts";
import { CliError, clean, type Terminal, tinted } from "../output.ts";
import { type ChildSpec, Supervisor } from "../supervisor.ts";
import { readPlan, type UpPlan } from "../up-plan.ts";

interface UpFlags {
  readonly state: string;
  readonly threads: number;
  readonly quiet?: boolean;
}

/** Ports of the side doors; the listeners' ports come from the configuration. */
const SIDE_DOORS: Readonly<Record<string, { readonly admin: number; readonly metrics: number; readonly readiness: number }>> = {
  ingress: { admin: 15000, metrics: 15090, readiness: 15021 },
  egress: { admin: 15100, metrics: 15190, readiness: 15121 },
};
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
    .option("--quiet", "only what goes wrong")
    .addHelpText(
      "after",
      "\nExamples:\n  npm start\n  npx tidegate up my-mesh/ --state /tmp/my-mesh\n\nCtrl-C drains the gateways and stops everything.",
    )
    .action(async (folder: string, flags: UpFlags) => await up(readPlan(folder), folder, flags, context));
}

async function up(plan: UpPlan, folder: string, flags: UpFlags, context: CliContext): Promise<void> {
  const { terminal } = context;
  const state = resolve(flags.state);
  const logs = join(state, "logs");
  prepare(logs);
  const started = performance.now();
  const supervisor = new Supervisor({
    line: (name, line) => {
      if (flags.quiet !== true || /"level":"(warn|error)"/.test(line)) terminal.error(prefixed(terminal, name, line));
    },
    died: (name, how, restartMs) =>
      terminal.error(prefixed(terminal, name, tinted(terminal, `ended (${how}); starting it again in ${restartMs} ms`, "bad"))),
  });
  const ended = untilSignal();
  const child = (name: string, command: ChildSpec["command"], cwd = process.cwd()): void =>
    supervisor.start({ name, command, cwd, env: childEnv(context.env), outputFile: join(logs, `${name}.log`) });
  try {
    const control = join(state, "control");
    child("control", [
      process.execPath,
      join(ROOT, "controlplane", "main.ts"),
      "--config",
      plan.config,
      "--state",
      control,
      "--log-format",
      "json",
    ]);
    const api = context.api({ tokenFile: await untilToken(join(control, "api.token"), ended) });
    const pools = await until("the control plane", ended, async () =>
      (await api.get<StatusResponse>("/status")).pools.filter((pool) => pool.version !== undefined),
    );
    for (const { name } of pools) {
      const doors = SIDE_DOORS[name] ?? { admin: 0, metrics: 0, readiness: 0 };
      const { token } = await api.post<JoinTokenResponse>("/join-tokens", { pool: name });
      const tokenFile = join(state, `${name}.join-token`);
      writeFileSync(tokenFile, token, { mode: 0o600 });
      child(`${name}`, [
        process.execPath,
        join(ROOT, "gateway", "node", "main.ts"),
        ...["--pool", name, "--gateway-id", `${name}-1`, "--control", "127.0.0.1:15012", "--state", join(state, name)],
        ...["--join-token-file", tokenFile, "--threads", String(flags.threads)],
        ...[
          "--admin-port",
          String(doors.admin),
          "--metrics-port",
          String(doors.metrics),
          "--readiness-port",
          String(doors.readiness),
        ],
      ]);
    }
    for (const { name, command, cwd } of plan.programs) child(name, command, cwd);
    await until("the gateways", ended, async () => {
      const gateways = (await api.get<StatusResponse>("/status")).pools.flatMap((pool) => pool.gateways);
      return gateways.length >= pools.length && gateways.every((gateway) => gateway.state === "synced") ? gateways : undefined;
    });
    terminal.out(summary(terminal, folder, Math.round(performance.now() - started)));
    await ended.promise;
    terminal.error(tinted(terminal, "stopping: gateways finish what they have begun\n", "dim"));
  } finally {
    await supervisor.stop();
  }
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
}

function untilSignal(): Ending {
  let over = false;
  const promise = new Promise<void>((done) => {
    const end = () => {
      over = true;
      done();
    };
    process.once("SIGINT", end);
    process.once("SIGTERM", end);
  });
  return { promise, over: () => over };
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
  throw new CliError(
    ending.over() ? "stopped" : `${what} did not become ready within ${READY_TIMEOUT_MS / 1000} s${why}; see the lines above`,
  );
}

async function untilToken(file: string, ending: Ending): Promise<string> {
  const { existsSync } = await import("node:fs");
  return await until("the control plane", ending, () => Promise.resolve(existsSync(file) ? file : undefined));
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

function summary(terminal: Terminal, folder: string, tookMs: number): string {
  const bold = (text: string) => tinted(terminal, text, "bold");
  const rows: [string, string][] = [
    ["page", "http://127.0.0.1:8080/productpage"],
    ["egress proxy", "http://127.0.0.1:3128"],
    ["API", "http://127.0.0.1:15080"],
    ["metrics", "http://127.0.0.1:15090/metrics"],
    ["configuration", `${folder} (edit a file: gateways follow at once)`],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(14)} ${bold(value)}\n`).join("");
  return `\n${tinted(terminal, `Tidegate is up after ${tookMs} ms`, "good")}\n${lines}\n  next: ${bold("npx tidegate status")}, ${bold("npx tidegate get")}; Ctrl-C stops everything\n\n`;
}
