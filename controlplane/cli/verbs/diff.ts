import type { Command } from "commander";
import type { ChangeResponse, ObjectChange } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { readDocuments } from "../files.ts";
import { type ApiFlags, collect, type OutputFlags, withApi, withOutput } from "../options.ts";
import { CliError, clean, show, type Terminal, tinted } from "../output.ts";
import { countErrors, problemLines } from "../problems.ts";

export function registerDiff(program: Command, context: CliContext): void {
  const command = program
    .command("diff")
    .description("what applying these files would change")
    .requiredOption("-f, --file <path>", "file, folder or - (standard input); may be repeated", collect);
  withOutput(withApi(command))
    .addHelpText(
      "after",
      "\nExample:\n  npx tidegate diff -f samples/bookinfo/walk/quota.yaml\n\nExit codes: 0 no difference, 1 an object would be refused, 4 differences.",
    )
    .action(async (flags: ApiFlags & OutputFlags & { readonly file: readonly string[] }) => {
      const request = { documents: await readDocuments(flags.file, context), dryRun: true };
      const answer = await context.api(flags).post<ChangeResponse>("/apply", request);
      show(
        context.terminal,
        flags.output,
        answer,
        () => diffText(context.terminal, answer.changes) + problemLines(context.terminal, answer.problems),
      );
      if (countErrors(answer.problems) > 0) throw new CliError("", 1);
      if (answer.changes.some(({ change }) => change !== "unchanged")) throw new CliError("", 4);
    });
}

function diffText(terminal: Terminal, changes: readonly ObjectChange[]): string {
  const text = (value: unknown) => clean(typeof value === "string" ? value : JSON.stringify(value));
  return changes
    .filter(({ change }) => change === "created" || change === "updated")
    .map(({ ref, change, fields = [] }) => {
      const lines = fields.map(({ path, before, after }) =>
        [
          before === undefined ? "" : tinted(terminal, `- ${path}: ${text(before)}\n`, "bad"),
          after === undefined ? "" : tinted(terminal, `+ ${path}: ${text(after)}\n`, "good"),
        ].join(""),
      );
      return tinted(terminal, `${ref.kind} ${ref.namespace}/${ref.name}: ${change}\n`, "bold") + lines.join("");
    })
    .join("\n");
}
