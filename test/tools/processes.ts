/** Child processes of tests and benchmarks: started, waited for by port, measured, and always ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { connect } from "node:net";

export interface Running {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Last lines of stdout and stderr, for failure messages. */
  output(): string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Processors to pin to, as taskset lists them: `0`, `0,2`. */
  readonly cpus?: string;
  readonly onLine?: (line: string) => void;
}

export function start(name: string, command: readonly string[], options: StartOptions = {}): Running {
  const full = options.cpus === undefined ? command : ["taskset", "-c", options.cpus, ...command];
  const [program = "", ...args] = full;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], cwd: options.cwd, env: options.env ?? process.env });
  running.add(child);
  let kept = "";
  let rest = "";
  const take = (bytes: Buffer) => {
    kept = (kept + bytes.toString()).slice(-16_384);
    if (options.onLine === undefined) return;
    const lines = (rest + bytes.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) options.onLine(line);
  };
  child.stdout?.on("data", take);
  child.stderr?.on("data", take);
  child.once("error", (error) => {
    kept += String(error);
  });
  child.once("exit", () => running.delete(child));
  return {
    name,
    child,
    pid: child.pid ?? 0,
    output: () => kept,
    stop: async (signal = "SIGTERM") => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      const force = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await exited;
      clearTimeout(force);
    },
  };
}

/** Resolves when something accepts on the port; rejects with the process's output when it ends or the time is over. */
export async function untilPort(process: Running, port: number, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const accepted = await accepts(port);
    if (process.child.exitCode !== null || process.child.signalCode !== null)
      throw new Error(`${process.name} ended: ${process.output()}`);
    if (accepted) return;
    if (Date.now() > deadline)
      throw new Error(`${process.name} does not listen on ${port} after ${timeoutMs} ms: ${process.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** User and system time of a process and its descendants, in microseconds. Source: proc(5), fields 14 and 15 of stat. */
export function cpuMicros(pid: number): number {
  const ticks = processTree(pid).reduce((sum, id) => {
    const fields = statOf(id);
    return sum + Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }, 0);
  return ticks * (1_000_000 / CLOCK_TICKS);
}

/** Resident memory of a process and its descendants, in MiB. */
export function rssMb(pid: number): number {
  return processTree(pid).reduce((sum, id) => {
    const kb = /VmRSS:\s+(\d+)/.exec(readQuietly(`/proc/${id}/status`))?.[1] ?? "0";
    return sum + Number(kb) / 1024;
  }, 0);
}

/** USER_HZ, which Linux fixes at 100 for user space. */
const CLOCK_TICKS = 100;

/** A process and its descendants. */
export function processTree(pid: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const path of globSync("/proc/[0-9]*/stat")) {
    const id = Number(path.split("/")[2]);
    const parent = Number(statOf(id)[1] ?? -1);
    children.set(parent, [...(children.get(parent) ?? []), id]);
  }
  const all = [pid];
  for (const id of all) all.push(...(children.get(id) ?? []));
  return all;
}

/** Fields after the command name, so index 0 is the state. */
function statOf(pid: number): string[] {
  const text = readQuietly(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
