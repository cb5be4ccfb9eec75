/** A walk executed as it is written: in a copy of the checkout, by a shell, with whatever its first command started ended like a person ends it. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { accepts } from "../tools/processes.ts";
import { ROOT } from "./command.ts";

const LEFT_OUT = new Set(["node_modules", ".git", ".tidegate"]);
const READY_MS = 100_000;

export class WalkRun {
  /** All that the first command printed since it began. */
  printed = "";
  readonly #copy = join(mkdtempSync(join(tmpdir(), "tidegate-walk-")), "tidegate");
  readonly #ports: readonly number[];
  readonly #env: NodeJS.ProcessEnv;
  #started: ChildProcess | undefined;

  /** @param ports those that the walk takes for granted */
  constructor(ports: readonly number[]) {
    this.#ports = ports;
    this.#env = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TIDEGATE_|npm_|VITEST|NODE_)/.test(name))),
      npm_config_cache: join(this.#copy, "..", "npm-cache"),
    };
  }

  /** How the first command ended; undefined: it runs, or never ran. */
  get signal(): NodeJS.Signals | null | undefined {
    return this.#started?.signalCode;
  }

  async prepare(): Promise<void> {
    const taken = await Promise.all(this.#ports.map(async (port) => ((await accepts(port)) ? [port] : [])));
    if (taken.flat().length > 0) {
      throw new Error(`the walk uses the default ports; something listens on ${taken.flat().join(", ")}`);
    }
    cpSync(ROOT, this.#copy, { recursive: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
    symlinkSync(join(ROOT, "node_modules"), join(this.#copy, "node_modules"));
  }

  async clear(): Promise<void> {
    await this.stop();
    rmSync(join(this.#copy, ".."), { recursive: true, force: true, maxRetries: 5 });
  }

  /** The first command, until it says that it is up. */
  async begin(command: string): Promise<void> {
    const [program = "", ...args] = command.trim().split(" ");
    this.printed = "";
    const started = spawn(program, args, {
      cwd: this.#copy,
      env: this.#env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#started = started;
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (bytes: Buffer) => {
        this.printed += bytes.toString();
      });
    }
    const until = performance.now() + READY_MS;
    while (!this.printed.includes("Ctrl-C") && started.exitCode === null && performance.now() < until) await pause(50);
  }

  /** Runs a block as one script; nothing may be complained about but what npm says of its settings. */
  run(commands: string): Promise<{ readonly output: string; readonly failed: boolean }> {
    return new Promise((done, fail) => {
      execFile("bash", ["-c", commands], { cwd: this.#copy, env: this.#env, timeout: 60_000 }, (error, stdout, stderr) => {
        const complaints = stderr.replace(/^npm (warn|notice).*\n/gm, "");
        if (complaints !== "") fail(new Error(`${commands}${stdout}${complaints}`, { cause: error ?? undefined }));
        else done({ output: stdout, failed: error !== null });
      });
    });
  }

  /** By default what Ctrl-C does: the signal goes to the whole group. */
  async stop(signal: NodeJS.Signals = "SIGINT", to: "the group" | "npm alone" = "the group"): Promise<void> {
    const started = this.#started;
    const pid = started?.pid;
    if (started === undefined || pid === undefined || started.exitCode !== null || started.signalCode !== null) return;
    const exited = once(started, "exit");
    process.kill(to === "the group" ? -pid : pid, signal);
    const force = setTimeout(() => process.kill(-pid, "SIGKILL"), 20_000);
    await exited;
    clearTimeout(force);
  }

  /** Ports that somebody still listens on after a while. */
  async left(): Promise<readonly number[]> {
    const until = performance.now() + 10_000;
    for (;;) {
      const listening = await Promise.all(this.#ports.map(async (port) => ((await accepts(port)) ? [port] : [])));
      if (listening.flat().length === 0 || performance.now() > until) return listening.flat();
      await pause(50);
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
