/**
 * A walk in a document: `sh` blocks, each followed by a `text` block with what the commands print, or by nothing. In a `text` block `…` stands for
 * anything, a line with nothing else for any lines, and `≈N` for a number within two fifths of N; white space counts once.
 */

export interface WalkStep {
  readonly commands: string;
  /** Undefined: nothing is promised but that the commands succeed. */
  readonly expected: string | undefined;
  /** Line of the commands in the document. */
  readonly line: number;
}

export interface CodeBlock {
  readonly language: string;
  readonly text: string;
  readonly line: number;
}

export function codeBlocks(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\S*)\n([\s\S]*?)^```$/gm)].map(({ 1: language = "", 2: text = "", index }) => ({
    language,
    text,
    line: markdown.slice(0, index).split("\n").length + 1,
  }));
}

/** The part of a document under a second-level heading, on the lines that it has there. */
export function section(markdown: string, heading: string): string {
  const start = markdown.indexOf(`\n## ${heading}\n`);
  if (start === -1) throw new Error(`no section ${heading}`);
  const end = markdown.indexOf("\n## ", start + 1);
  return markdown.slice(0, start).replace(/[^\n]/g, "") + markdown.slice(start, end === -1 ? undefined : end);
}

export function walkSteps(markdown: string): WalkStep[] {
  const blocks = codeBlocks(markdown);
  return blocks.flatMap(({ language, text, line }, i) => {
    if (language === "sh") {
      const next = blocks[i + 1];
      return [{ commands: text, expected: next?.language === "text" ? next.text : undefined, line }];
    }
    if (language === "text" && blocks[i - 1]?.language === "sh") return [];
    throw new Error(`line ${line}: a ${language || "bare"} block is neither commands nor what they print`);
  });
}

/** Why the output is not what was promised; undefined: it is. */
export function difference(expected: string, output: string): string | undefined {
  const want = tidy(expected);
  const got = tidy(output);
  let at = 0;
  for (let i = 0; i < want.length; i += 1) {
    const line = want[i] ?? "";
    if (line === "…") {
      const next = want[i + 1];
      if (next === undefined) return undefined;
      while (at < got.length && !lineFits(next, got[at] ?? "")) at += 1;
      continue;
    }
    if (!lineFits(line, got[at] ?? "")) return `expected ${JSON.stringify(line)}, got ${JSON.stringify(got[at] ?? "the end")}`;
    at += 1;
  }
  return at === got.length ? undefined : `printed besides: ${got.slice(at).join("\n")}`;
}

function tidy(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim().replace(/\s+/g, " "))
    .filter((line) => line !== "");
}

const TOLERANCE = 0.4;

function lineFits(expected: string, line: string): boolean {
  const numbers: number[] = [];
  const pattern = expected.replace(/≈(\d+)|…|[\\^$.*+?()[\]{}|]/g, (special, number: string | undefined) => {
    if (special === "…") return ".*";
    if (number === undefined) return `\\${special}`;
    numbers.push(Number(number));
    return "(\\d+)";
  });
  const found = new RegExp(`^${pattern}$`).exec(line);
  return found !== null && numbers.every((number, i) => Math.abs(Number(found[i + 1]) - number) <= number * TOLERANCE);
}
