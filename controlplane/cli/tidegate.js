#!/usr/bin/env node
// Runs the command with the Node that the project brings, whatever Node the machine has.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const bin = join(here, "..", "..", "node_modules", ".bin");
const own = join(bin, "node");
const node = existsSync(own) ? own : process.execPath;
const PATH = `${bin}:${process.env.PATH ?? ""}`;
const run = spawnSync(node, [join(here, "main.ts"), ...process.argv.slice(2)], {
  stdio: "inherit",
  env: { ...process.env, PATH },
});
if (run.error) process.stderr.write(`tidegate: cannot run ${node}: ${run.error.message}; run npm ci first\n`);
process.exit(run.status ?? (run.signal === "SIGINT" ? 130 : 1));
