/** Problems of configuration as lines for a person. */
import { formatProblem, type Problem, type Severity } from "../config/resource.ts";
import { clean, type Terminal, type Tone, tinted } from "./output.ts";

const TONE: Record<Severity, Tone> = { error: "bad", unsupported: "warn", conflict: "warn", warning: "warn" };

/** @param cwd shortens places below it */
export function problemLines(terminal: Terminal, problems: readonly Problem[], cwd?: string): string {
  return problems
    .map((problem) => {
      const source = { ...problem.source, file: nearPath(problem.source.file, cwd) };
      const told = clean(formatProblem({ ...problem, source }));
      return `${tinted(terminal, problem.severity, TONE[problem.severity])} ${told}\n`;
    })
    .join("");
}

/** A path below the working directory as people type it. */
export function nearPath(path: string, cwd: string | undefined): string {
  return cwd !== undefined && path.startsWith(`${cwd}/`) ? path.slice(cwd.length + 1) : path;
}

export function countErrors(problems: readonly Problem[]): number {
  return problems.filter((problem) => problem.severity === "error").length;
}
