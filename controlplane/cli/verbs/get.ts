import { Argument, type Command } from "commander";
import { stringify } from "yaml";
import type { ObjectsResponse, ObjectView } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { type ApiFlags, kindName, type OutputFlags, withApi, withOutput } from "../options.ts";
import { ago, type Cell, CliError, show, table } from "../output.ts";
import { nearPath } from "../problems.ts";
import { registerGetEndpoints } from "./get-endpoints.ts";

interface GetFlags extends ApiFlags, OutputFlags {
  readonly namespace?: string;
}

export function registerGet(program: Command, context: CliContext): void {
  const command = program
    .command("get")
    .description("list objects with their status, or show one")
    .addArgument(new Argument("[kind]", "such as vs, gateway, quota; all kinds when left out").argParser(kindName))
    .argument("[name]", "one object")
    .option("-n, --namespace <namespace>", "only this namespace");
  // What stands behind `endpoints` is its own.
  command.enablePositionalOptions();
  registerGetEndpoints(command, context);
  withOutput(withApi(command))
    .addHelpText(
      "after",
      `
Examples:
  npx tidegate get
  npx tidegate get vs -n bookinfo
  npx tidegate get quota reviews-per-key -o yaml
  npx tidegate get endpoints reviews`,
    )
    .action(async (kind: string | undefined, name: string | undefined, flags: GetFlags) => {
      const query = new URLSearchParams();
      if (kind !== undefined) query.set("kind", kind);
      if (name !== undefined) query.set("name", name);
      if (flags.namespace !== undefined) query.set("namespace", flags.namespace);
      const { items } = await context.api(flags).get<ObjectsResponse>(`/objects?${query}`);
      if (name !== undefined && items.length === 0) {
        throw new CliError(
          `no ${kind ?? "object"} ${name}${flags.namespace === undefined ? "" : ` in namespace ${flags.namespace}`}; list them with: tidegate get ${kind ?? ""}`,
        );
      }
      const data = name !== undefined && items.length === 1 ? items[0] : items;
      show(context.terminal, flags.output, data, () => objectTable(context, items) + detail(name, items));
    });
}

function objectTable({ terminal, now, cwd }: CliContext, items: readonly ObjectView[]): string {
  if (items.length === 0) return "no objects\n";
  return table(
    terminal,
    ["KIND", "NAMESPACE", "NAME", "STATUS", "PROGRAMMED", "AGE", "SOURCE"],
    items.map((item): (string | Cell)[] => [
      item.kind,
      item.metadata.namespace,
      item.metadata.name,
      statusCell(item),
      item.status.programmed.map(({ pool, since }) => `${pool}@${since}`).join(" ") || "-",
      ago(item.metadata.createdMs, now()),
      nearPath(item.source, cwd),
    ]),
  );
}

function statusCell({ status }: ObjectView): Cell {
  if (!status.accepted) return { text: "refused", tone: "bad" };
  const count = status.problems.length;
  return count === 0
    ? { text: "accepted", tone: "good" }
    : { text: `accepted, ${count} problem${count === 1 ? "" : "s"}`, tone: "warn" };
}

/** One object asked for by name: its problems and its spec, too. */
function detail(name: string | undefined, items: readonly ObjectView[]): string {
  const [item] = items;
  if (name === undefined || items.length !== 1 || item === undefined) return "";
  const problems = item.status.problems.map((problem) => `${problem.severity}: ${problem.path}: ${problem.message}\n`).join("");
  return `${problems === "" ? "" : `\n${problems}`}\n${stringify({ spec: item.spec })}`;
}
