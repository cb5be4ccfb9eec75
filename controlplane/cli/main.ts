/** The `tidegate` command: this process's terminal and environment handed to the verbs. */
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
  async readStdin() {
    const parts: Buffer[] = [];
    for await (const part of process.stdin) parts.push(part as Buffer);
    return Buffer.concat(parts).toString("utf8");
  },
};

process.exitCode = await runProgram(makeProgram(context, packageJson.version), process.argv.slice(2), context);
