import { Argument, type Command } from "commander";
import type { ChangeResponse } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { type ApiFlags, durationMs, kindName, type OutputFlags, withApi, withOutput } from "../options.ts";
import { report, waitOf } from "./apply.ts";

interface DeleteFlags extends ApiFlags, OutputFlags {
  readonly namespace: string;
  readonly wait?: number | boolean;
}

export function registerDelete(program: Command, context: CliContext): void {
  const command = program
    .command("delete")
    .description("delete objects that were applied through the API")
    .addArgument(new Argument("<kind>", "such as vs, gateway, quota").argParser(kindName))
    .argument("<name...>", "one or more names")
    .option("-n, --namespace <namespace>", "their namespace", "default")
    .option("--wait [duration]", "return when every connected gateway enforces it (default 10s)", durationMs);
  withOutput(withApi(command))
    .addHelpText("after", "\nExample:\n  npx tidegate delete quota reviews-strict -n bookinfo --wait")
    .action(async (kind: string, names: string[], flags: DeleteFlags) => {
      const refs = names.map((name) => ({ kind, namespace: flags.namespace, name }));
      const answer = await context.api(flags).post<ChangeResponse>("/delete", { refs, ...waitOf(flags.wait) });
      report(context, flags, answer);
    });
}
