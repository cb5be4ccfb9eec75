/** The command line and the two programs as a shell would run them, to their end. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "..", "..");

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}

/** Runs `node <args>` without this shell's `TIDEGATE_*`, and never longer than a minute. */
export function runNode(args: readonly string[], { env = {}, input = "", cwd = ROOT }: RunOptions = {}): Promise<Ran> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("TIDEGATE_"));
  const child = spawn(process.execPath, [...args], { cwd, env: { ...Object.fromEntries(inherited), ...env } });
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  let out = "";
  let err = "";
  child.stdout.on("data", (bytes: Buffer) => {
    out += bytes.toString();
  });
  child.stderr.on("data", (bytes: Buffer) => {
    err += bytes.toString();
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  return new Promise((done) => {
    child.once("close", (code) => {
      clearTimeout(timer);
      done({ code, out, err });
    });
  });
}

export const tidegate = (args: readonly string[], options?: RunOptions): Promise<Ran> =>
  runNode([resolve(ROOT, "controlplane/cli/main.ts"), ...args], options);
