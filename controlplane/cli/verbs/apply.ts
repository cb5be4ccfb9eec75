import type { Command } from "commander";
import type { ApplyRequest, ChangeResponse, EnforcedAnswer, GatewayView, ObjectChange } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { readDocuments } from "../files.ts";
import { type ApiFlags, collect, durationMs, type OutputFlags, withApi, withOutput } from "../options.ts";
import { type Cell, CliError, show, type Terminal, table, tinted } from "../output.ts";
import { problemLines } from "../problems.ts";
import { gatewayTables } from "./status.ts";

const DEFAULT_WAIT_MS = 10_000;

interface ApplyFlags extends ApiFlags, OutputFlags {
  readonly file: readonly string[];
  readonly wait?: number | boolean;
  readonly dryRun?: boolean;
}

export function registerApply(program: Command, context: CliContext): void {
  const command = program
    .command("apply")
    .description("create or update the objects of YAML files")
    .requiredOption("-f, --file <path>", "file, folder or - (standard input); may be repeated", collect)
    .option(
      "--wait [duration]",
      "return when every connected gateway enforces it, or say which does not and why (default 10s)",
      durationMs,
    )
    .option("--dry-run", "validate and compare; change nothing");
  withOutput(withApi(command))
    .addHelpText(
      "after",
      `
Examples:
  npx tidegate apply -f samples/bookinfo/walk/quota.yaml --wait
  cat quota.yaml | npx tidegate apply -f - --dry-run -o json

Exit codes: 0 done, 1 something was refused, 3 a gateway does not enforce it (with --wait).`,
    )
    .action(async (flags: ApplyFlags) => {
      const request: ApplyRequest = {
        documents: await readDocuments(flags.file, context),
        ...(flags.dryRun === true && { dryRun: true }),
        ...waitOf(flags.wait),
      };
      const answer = await context.api(flags).post<ChangeResponse>("/apply", request);
      report(context, flags, answer);
    });
}

/** `--wait` alone, or with a duration. */
export function waitOf(wait: number | boolean | undefined): { waitMs?: number } {
  if (wait === undefined || wait === false) return {};
  return { waitMs: wait === true ? DEFAULT_WAIT_MS : wait };
}

/** Prints what changed and what is in force; fails when something was refused or not enforced. */
export function report({ terminal, now }: CliContext, flags: OutputFlags, answer: ChangeResponse): void {
  show(
    terminal,
    flags.output,
    answer,
    () => changeTable(terminal, answer.changes) + problemLines(terminal, answer.problems) + enforcedText(terminal, answer, now()),
  );
  const refused = answer.changes.filter((change) => change.change === "refused" || change.change === "missing").length;
  const errors = answer.problems.filter((problem) => problem.severity === "error").length;
  if (refused > 0 || errors > 0) throw new CliError(flags.output === "table" ? `${Math.max(refused, errors)} refused` : "", 1);
  if (answer.enforced?.complete === false) throw new CliError("", 3);
}

const TONES = { created: "good", updated: "good", unchanged: "dim", deleted: "warn", refused: "bad", missing: "bad" } as const;

function changeTable(terminal: Terminal, changes: readonly ObjectChange[]): string {
  if (changes.length === 0) return "";
  const rows = changes.map(({ ref, change }): (string | Cell)[] => [
    ref.kind,
    ref.namespace,
    ref.name,
    { text: change, tone: TONES[change] },
  ]);
  return table(terminal, ["KIND", "NAMESPACE", "NAME", "CHANGE"], rows);
}

function enforcedText(terminal: Terminal, answer: ChangeResponse, nowMs: number): string {
  const { enforced } = answer;
  if (enforced === undefined) return "";
  if (enforced.complete) return tinted(terminal, enforcedLine(enforced), "good");
  return `${tinted(terminal, "not enforced everywhere:\n", "bad")}${gatewayTables(terminal, enforced.gateways, nowMs)}`;
}

function enforcedLine({ gateways, tookMs }: EnforcedAnswer): string {
  const count = (kind: GatewayView["kind"]) => gateways.filter((one) => one.kind === kind && one.state === "synced").length;
  const [connected, sites] = [count("gateway"), count("site")];
  const edge = sites === 0 ? "" : ` and ${sites} edge site${sites === 1 ? "" : "s"}`;
  return `enforced by ${connected} gateway${connected === 1 ? "" : "s"}${edge} after ${tookMs} ms\n`;
}
