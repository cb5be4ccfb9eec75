/** The `tidegate` command: this process's terminal and environment handed to the verbs. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import packageJson from "../../package.json" with { type: "json" };
import { connectApi } from "./client.ts";
import type { CliContext } from "./context.ts";
import { processTerminal } from "./output.ts";
import { makeProgram, runProgram } from "./program.ts";

const context: CliContext = {
  terminal: processTerminal(),
  env: process.env,
  cwd: process.cwd(),
  now: Date.now,
  api: (options) => connectApi(options, process.env, process.cwd()),
  readStdin,
  readSecret,
};

async function readStdin(): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

/** One line, typed unseen. */
async function readSecret(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) return await readStdin();
  process.stderr.write(prompt);
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: unseen, terminal: true });
  try {
    return await lines.question("");
  } finally {
    lines.close();
    process.stderr.write("\n");
  }
}

process.exitCode = await runProgram(makeProgram(context, packageJson.version), process.argv.slice(2), context);
