/** The `tidegate` command: its verbs, and how it fails. */
import { Command, CommanderError } from "commander";
import type { CliContext } from "./context.ts";
import { CliError, tinted } from "./output.ts";
import { registerApply } from "./verbs/apply.ts";
import { registerDelete } from "./verbs/delete.ts";
import { registerDiff } from "./verbs/diff.ts";
import { registerEdge } from "./verbs/edge.ts";
import { registerEgress } from "./verbs/egress.ts";
import { registerExplain } from "./verbs/explain.ts";
import { registerGet } from "./verbs/get.ts";
import { registerKeys } from "./verbs/keys.ts";
import { registerSnapshot } from "./verbs/snapshot.ts";
import { registerStatus } from "./verbs/status.ts";
import { registerUp } from "./verbs/up.ts";
import { registerValidate } from "./verbs/validate.ts";
import { registerVersion } from "./verbs/version.ts";

export function makeProgram(context: CliContext, version: string): Command {
  const { terminal } = context;
  const program = new Command("tidegate")
    .description("Tidegate: expose services, control egress, set quotas")
    .version(version)
    .showSuggestionAfterError()
    // An option belongs to the command that it stands behind.
    .enablePositionalOptions()
    .showHelpAfterError("(--help shows what there is)")
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.error(text) })
    .exitOverride();
  registerUp(program, context);
  registerApply(program, context);
  registerGet(program, context);
  registerDelete(program, context);
  registerDiff(program, context);
  registerValidate(program, context);
  registerStatus(program, context);
  registerExplain(program, context);
  registerSnapshot(program, context);
  registerEdge(program, context);
  registerEgress(program, context);
  registerKeys(program, context);
  registerVersion(program, context, version);
  return program;
}

/** A file, directory or socket that cannot be used: the system's message names it. Anything else is a fault of this program. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error;
}

/** Runs the command line and answers its exit code: 2 for a command line that cannot be understood. */
export async function runProgram(program: Command, args: readonly string[], { terminal }: CliContext): Promise<number> {
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (isSystemError(error)) {
      terminal.error(`${tinted(terminal, "tidegate:", "bad")} ${error.message}\n`);
      return 1;
    }
    if (!(error instanceof CliError)) throw error;
    if (error.message !== "") terminal.error(`${tinted(terminal, "tidegate:", "bad")} ${error.message}\n`);
    return error.exitCode;
  }
}
