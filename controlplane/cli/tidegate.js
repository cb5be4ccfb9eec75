#!/usr/bin/env node
// Runs the command with the Node that the project brings, whatever Node the machine has.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const bin = join(here, "..", "..", "node_modules", ".bin");
const own = join(bin, "node");
const node = existsSync(own) ? own : process.execPath;
const PATH = `${bin}:${process.env.PATH ?? ""}`;
const child = spawn(node, [join(here, "main.ts"), ...process.argv.slice(2)], {
  stdio: "inherit",
  env: { ...process.env, PATH },
});
// What is sent to this process alone is passed on. A terminal sends Ctrl-C to both, and the command takes a second one as "at once".
process.on("SIGTERM", () => child.kill("SIGTERM"));
process.on("SIGHUP", () => child.kill("SIGHUP"));
process.on("SIGINT", () => {
  if (!process.stdin.isTTY) child.kill("SIGINT");
});
child.once("error", (error) => {
  process.stderr.write(`tidegate: cannot run ${node}: ${error.message}; run npm ci first\n`);
  process.exitCode = 1;
});
child.once("exit", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 1);
});
