/** How the command shows things: tables and colour on a terminal, plain text in a pipe, JSON and YAML when asked for. */
import pc from "picocolors";
import { stringify } from "yaml";

export type Format = "table" | "json" | "yaml";
export const FORMATS: readonly Format[] = ["table", "json", "yaml"];

export type Tone = "good" | "bad" | "warn" | "dim" | "bold" | "plain";

/** Where the command writes. A test hands in its own. */
export interface Terminal {
  out(text: string): void;
  error(text: string): void;
  /** Colour and progress lines. */
  readonly rich: boolean;
  readonly columns: number;
}

export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreClosedPipe);
  return {
    out: (text) => void process.stdout.write(text),
    error: (text) => void process.stderr.write(text),
    rich: process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined,
    columns: process.stdout.columns ?? 120,
  };
}

/** Whoever reads may stop early, as in `tidegate get | head -3`. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

const colors = pc.createColors(true);
const TONES: Record<Tone, (text: string) => string> = {
  good: colors.green,
  bad: colors.red,
  warn: colors.yellow,
  dim: colors.dim,
  bold: colors.bold,
  plain: (text) => text,
};

export interface Cell {
  readonly text: string;
  readonly tone?: Tone;
}

export function tinted(terminal: Terminal, text: string, tone: Tone): string {
  return terminal.rich ? TONES[tone](text) : text;
}

/** Columns as wide as their content; the last one is never padded. Text in cells loses control characters: it may come from anywhere. */
export function table(terminal: Terminal, header: readonly string[], rows: readonly (readonly (string | Cell)[])[]): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === "string" ? { text: clean(cell) } : { ...cell, text: clean(cell.text) })),
  );
  const widths = header.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.text.length ?? 0)));
  const line = (row: readonly Cell[]): string =>
    row
      .map((cell, column) => {
        const padded = column === row.length - 1 ? cell.text : cell.text.padEnd(widths[column] ?? 0);
        return tinted(terminal, padded, cell.tone ?? "plain");
      })
      .join("  ")
      .trimEnd();
  return [line(header.map((title) => ({ text: title, tone: "bold" as const }))), ...cells.map(line)]
    .map((text) => `${text}\n`)
    .join("");
}

/** The same data for machines, or for people through `render`. */
export function show(terminal: Terminal, format: Format, data: unknown, render: () => string): void {
  if (format === "json") terminal.out(`${JSON.stringify(data, null, 2)}\n`);
  else if (format === "yaml") terminal.out(stringify(data));
  else terminal.out(render());
}

/** `3s`, `5m`, `2h`, `4d`: how long ago. */
export function ago(sinceMs: number | undefined, nowMs: number): string {
  if (sinceMs === undefined) return "-";
  const seconds = Math.max(0, Math.floor((nowMs - sinceMs) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

/** `500ms`, `10s`, `5m`, `1h`, `1d`: in the largest unit that is whole, as configuration spells it. */
export function duration(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms >= size && ms % size === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
];

/** Control characters (terminal escapes among them) shown as what they are. */
export function clean(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** A failure with a message for the person at the terminal and the process's exit code. */
export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = "CliError";
    this.exitCode = exitCode;
  }
}
