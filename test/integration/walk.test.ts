/** The README's walk, executed as it is written: every command, in order, in a copy of the checkout, with everything that it says is printed. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { needs } from "../support/needs.ts";
import { codeBlocks, difference, section, walkSteps } from "../support/walk.ts";
import { accepts } from "../tools/processes.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
const LEFT_OUT = new Set(["node_modules", ".git", ".tidegate"]);
/** What a person needs at least between two blocks; the gateways follow a changed file in a fraction of it. */
const BETWEEN_STEPS_MS = 1000;
const READY_MS = 40_000;
const DEFAULT_PORTS = [3128, 8080, 9080, 15000, 15012, 15080, 15090];

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const [first, ...steps] = walkSteps(section(readme, "The walk"));
const copy = join(mkdtempSync(join(tmpdir(), "tidegate-walk-")), "tidegate");
const env = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TIDEGATE_|npm_|VITEST|NODE_)/.test(name))),
  npm_config_cache: join(copy, "..", "npm-cache"),
};
const tools = needs("curl");
let started: ChildProcess | undefined;
let printed = "";

beforeAll(async () => {
  const taken = await Promise.all(DEFAULT_PORTS.map(async (port) => ((await accepts(port)) ? [port] : [])));
  if (taken.flat().length > 0)
    throw new Error(`the walk uses the default ports; something listens on ${taken.flat().join(", ")}`);
  cpSync(ROOT, copy, { recursive: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
});

afterAll(async () => {
  await stop();
  rmSync(join(copy, ".."), { recursive: true, force: true, maxRetries: 5 });
});

it("is all there is to type: what stands outside the walk are the two ways to begin", () => {
  const walked = new Set(codeBlocks(section(readme, "The walk")).map(({ line }) => line));
  const outside = codeBlocks(readme).filter(({ language, line }) => language !== "" && !walked.has(line));
  expect(outside.map(({ language, text }) => [language, text.replace(/ *#.*$/gm, "")])).toEqual([
    ["sh", "npm ci && npm start\nnpm ci && npm test\n"],
  ]);
});

describe.skipIf(tools.missing)(`the walk${tools.note}`, () => {
  it(`line ${first?.line}: npm start`, { timeout: READY_MS + 10_000 }, async () => {
    expect(first?.commands).toBe("npm start\n");
    await begin();
    expect(difference(first?.expected ?? "", printed)).toBeUndefined();
  });

  for (const { commands, expected, line } of steps) {
    it(`line ${line}: ${commands.split("\n")[0]}`, async () => {
      const { output, failed } = await run(commands);
      if (expected === undefined) expect(failed).toBe(false);
      else expect(difference(expected, output), output).toBeUndefined();
      await pause(BETWEEN_STEPS_MS);
    });
  }

  it("ends with Ctrl-C, and leaves nothing behind", async () => {
    await stop();
    await expectGone();
    expect(printed).not.toMatch(/by a bug/);
  });

  it("starts again from what it kept, and ends when npm alone is told to", { timeout: READY_MS + 20_000 }, async () => {
    await begin();
    expect(difference(first?.expected ?? "", printed)).toBeUndefined();
    await stop("SIGTERM", "npm alone");
    await expectGone();
  });
});

/** `npm start`, until it says that it is up. */
async function begin(): Promise<void> {
  printed = "";
  started = spawn("npm", ["start"], { cwd: copy, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [started.stdout, started.stderr]) {
    stream?.on("data", (bytes: Buffer) => {
      printed += bytes.toString();
    });
  }
  const until = performance.now() + READY_MS;
  while (!printed.includes("Ctrl-C") && started.exitCode === null && performance.now() < until) await pause(50);
}

/** Runs a block as one script; nothing may be complained about but what npm says of its settings. */
function run(commands: string): Promise<{ readonly output: string; readonly failed: boolean }> {
  return new Promise((done, fail) => {
    execFile("bash", ["-c", commands], { cwd: copy, env, timeout: 60_000 }, (error, stdout, stderr) => {
      const complaints = stderr.replace(/^npm (warn|notice).*\n/gm, "");
      if (complaints !== "") fail(new Error(`${commands}${stdout}${complaints}`, { cause: error ?? undefined }));
      else done({ output: stdout, failed: error !== null });
    });
  });
}

/** By default what Ctrl-C does: the signal goes to the whole group. */
async function stop(signal: NodeJS.Signals = "SIGINT", to: "the group" | "npm alone" = "the group"): Promise<void> {
  const pid = started?.pid;
  if (started === undefined || pid === undefined || started.exitCode !== null || started.signalCode !== null) return;
  const exited = once(started, "exit");
  process.kill(to === "the group" ? -pid : pid, signal);
  const force = setTimeout(() => process.kill(-pid, "SIGKILL"), 20_000);
  await exited;
  clearTimeout(force);
}

async function expectGone(): Promise<void> {
  expect(started?.signalCode, printed).not.toBe("SIGKILL");
  const listening = () => Promise.all(DEFAULT_PORTS.map(accepts));
  const until = performance.now() + 10_000;
  while ((await listening()).includes(true) && performance.now() < until) await pause(50);
  expect(await listening(), printed).not.toContain(true);
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
