/** Documents named on the command line: files, folders (every YAML and JSON below), or `-` for standard input. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Document } from "../api/index.ts";
import type { CliContext } from "./context.ts";
import { CliError } from "./output.ts";

const DOCUMENT = /\.(ya?ml|json)$/;

/** @throws CliError naming every path that cannot be read. */
export async function readDocuments(paths: readonly string[], context: Pick<CliContext, "readStdin">): Promise<Document[]> {
  const documents: Document[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    try {
      if (path === "-") documents.push({ file: "stdin", text: await context.readStdin() });
      else for (const file of filesAt(path)) documents.push({ file, text: readFileSync(file, "utf8") });
    } catch (error) {
      problems.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (problems.length > 0) throw new CliError(problems.join("\n"), 2);
  if (documents.length === 0) throw new CliError(`no .yaml, .yml or .json file in ${paths.join(", ")}`, 2);
  return documents;
}

function filesAt(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => DOCUMENT.test(name) && !name.split("/").some((part) => part.startsWith(".")))
    .map((name) => join(path, name))
    .sort();
}
