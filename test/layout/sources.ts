/** The project's own source files as the house checks read them: text, imports, room. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

export interface SourceFile {
  /** Path from the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly test: boolean;
  readonly imports: readonly Import[];
}

export interface Import {
  /** Path from the root for a relative import, otherwise the package or `node:` name. */
  readonly target: string;
  readonly relative: boolean;
  /** Erased at run time. */
  readonly typeOnly: boolean;
  readonly line: number;
}

const ROOMS = ["gateway", "controlplane", "sidecar", "k8s", "samples", "test"];
// One statement: `import … from "x"`, `export … from "x"`, `import "x"`; or a dynamic `import("x")`.
const STATEMENT = /^(import|export)\s+(type\s+)?([^"';]*?\sfrom\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm;

let cached: readonly SourceFile[] | undefined;

export function sources(): readonly SourceFile[] {
  cached ??= ROOMS.flatMap((room) => globSync(`${room}/**/*.ts`))
    .filter((path) => !path.includes("/gen/") && !path.endsWith(".d.ts"))
    .sort()
    .map(read);
  return cached;
}

/** Shipped code: neither tests nor the test room. */
export function shipped(): readonly SourceFile[] {
  return sources().filter((file) => !file.test);
}

function read(path: string): SourceFile {
  const text = readFileSync(path, "utf8");
  const imports = [...text.matchAll(STATEMENT)].map((match) => {
    const specifier = match[4] ?? match[5] ?? "";
    const relative = specifier.startsWith(".");
    const named = match[3] ?? "";
    const allNamesTyped = /^\{[^}]*\}/.test(named.trim()) && namesOf(named).every((name) => name.startsWith("type "));
    return {
      target: relative ? normalize(join(dirname(path), specifier)) : specifier,
      relative,
      typeOnly: match[2] !== undefined || allNamesTyped,
      line: text.slice(0, match.index).split("\n").length,
    };
  });
  return { path, text, test: path.startsWith("test/") || path.endsWith(".test.ts"), imports };
}

function namesOf(clause: string): string[] {
  return clause
    .slice(clause.indexOf("{") + 1, clause.indexOf("}"))
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
