import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { type ApiFlags, type OutputFlags, withApi, withOutput } from "../options.ts";
import { CliError, show } from "../output.ts";

export function registerVersion(program: Command, context: CliContext, version: string): void {
  withOutput(withApi(program.command("version").description("version of this command and of the control plane")))
    .addHelpText("after", "\nExample:\n  npx tidegate version -o json")
    .action(async (flags: ApiFlags & OutputFlags) => {
      const controlPlane = await context
        .api(flags)
        .get<{ version: string }>("/version")
        .then((answer) => answer.version)
        .catch((error: unknown) => {
          if (error instanceof CliError) return null;
          throw error;
        });
      show(
        context.terminal,
        flags.output,
        { client: version, controlPlane },
        () => `client ${version}\ncontrol plane ${controlPlane ?? "not reached"}\n`,
      );
    });
}
