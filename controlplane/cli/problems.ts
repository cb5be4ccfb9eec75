/** Problems of configuration as lines for a person. */
import { formatProblem, type Problem, type Severity } from "../config/resource.ts";
import { clean, type Terminal, type Tone, tinted } from "./output.ts";

const TONE: Record<Severity, Tone> = { error: "bad", unsupported: "warn", conflict: "warn", warning: "warn" };

export function problemLines(terminal: Terminal, problems: readonly Problem[]): string {
  return problems
    .map((problem) => `${tinted(terminal, problem.severity, TONE[problem.severity])} ${clean(formatProblem(problem))}\n`)
    .join("");
}

export function countErrors(problems: readonly Problem[]): number {
  return problems.filter((problem) => problem.severity === "error").length;
}
