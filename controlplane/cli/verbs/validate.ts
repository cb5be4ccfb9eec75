import type { Command } from "commander";
import { checkReferences } from "../../config/index.ts";
import type { Problem } from "../../config/resource.ts";
import { diskFiles } from "../../disk-files.ts";
import { mergeDocuments } from "../../offline.ts";
import type { CliContext } from "../context.ts";
import { readDocuments } from "../files.ts";
import { type OutputFlags, withOutput } from "../options.ts";
import { CliError, show, tinted } from "../output.ts";
import { countErrors, problemLines } from "../problems.ts";

export function registerValidate(program: Command, context: CliContext): void {
  const command = program
    .command("validate")
    .description("check files as the control plane would, without one: all problems at once, with file:line:column")
    .argument("<path...>", "files, folders or - (standard input)");
  withOutput(command)
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate validate samples/bookinfo/mesh\n\nExit codes: 0 every object would be accepted, 1 one would be refused.",
    )
    .action(async (paths: string[], flags: OutputFlags) => {
      const documents = await readDocuments(paths, context);
      const set = mergeDocuments(documents, { nowMs: context.now(), files: diskFiles });
      const accepted = set.resources;
      const problems: readonly Problem[] = [...set.problems, ...checkReferences(accepted, { locate: set.locate })];
      const errors = countErrors(problems);
      show(context.terminal, flags.output, { accepted: accepted.length, problems }, () => {
        const counts = `${accepted.length} object${accepted.length === 1 ? "" : "s"} accepted, ${errors} error${errors === 1 ? "" : "s"}\n`;
        return problemLines(context.terminal, problems) + tinted(context.terminal, counts, errors === 0 ? "good" : "bad");
      });
      if (errors > 0) throw new CliError("", 1);
    });
}
