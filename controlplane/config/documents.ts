/** Text → plain JSON documents in which every field still knows its line and column. Limits stop what is meant to exhaust us. */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments } from "yaml";

export interface ParseLimits {
  /** Text of one file, UTF-16 units. */
  readonly maxTextLength: number;
  /** Documents of one file. */
  readonly maxDocuments: number;
  /** Maps and lists inside one another. */
  readonly maxDepth: number;
  /** Values of one document after aliases are expanded: stops a few lines of anchors from becoming gigabytes. */
  readonly maxValues: number;
}

export const PARSE_LIMITS: ParseLimits = {
  maxTextLength: 4 * 1024 * 1024,
  maxDocuments: 10_000,
  maxDepth: 64,
  maxValues: 200_000,
};

/** 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export type FieldPath = readonly (string | number)[];

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface TextProblem extends Position {
  readonly message: string;
}

/** One document: its content, or nothing when it is broken, and where its fields are. */
export interface TextDocument {
  /** Undefined: the document is broken, `problems` say where. */
  readonly content: Json | undefined;
  readonly problems: readonly TextProblem[];
  readonly start: Position;
  /** Place of the value at a path, or of its key; of the closest field around it when there is none. */
  locate(path: FieldPath, part?: "key" | "value"): Position;
}

export interface TextFile {
  readonly documents: readonly TextDocument[];
  /** Problems of the file as a whole. */
  readonly problems: readonly TextProblem[];
}

/** Reads YAML 1.2 or JSON, one or many documents. Never throws. */
export function readDocuments(text: string, limits: ParseLimits = PARSE_LIMITS): TextFile {
  if (text.length > limits.maxTextLength) {
    const message = `the file has ${text.length} characters; at most ${limits.maxTextLength} are read. Split it`;
    return { documents: [], problems: [{ line: 1, column: 1, message }] };
  }
  const nul = text.indexOf("\0");
  if (nul !== -1)
    return {
      documents: [],
      problems: [{ ...lineOf(text, nul), message: "the file has a NUL byte; it is no YAML or JSON text" }],
    };
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, logLevel: "silent" });
  const found = Array.isArray(parsed) ? parsed : [];
  const problems: TextProblem[] = [];
  if (found.length > limits.maxDocuments) {
    const message = `the file has ${found.length} documents; at most ${limits.maxDocuments} are read. Split it`;
    problems.push({ line: 1, column: 1, message });
  }
  const documents = found.slice(0, limits.maxDocuments).map((document) => readDocument(document, lines, limits));
  return { documents, problems };
}

function lineOf(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}

const REMEDY: { readonly [code: string]: string } = {
  TAB_AS_INDENT: "tabs cannot indent in YAML; use spaces",
  RESOURCE_EXHAUSTION: "maps and lists are nested too deeply",
};

function readDocument(document: Document.Parsed, lines: LineCounter, limits: ParseLimits): TextDocument {
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const start = at(document.contents?.range?.[0] ?? document.range[0]);
  const problems: TextProblem[] = [...document.errors, ...document.warnings].map((error) => ({
    ...at(error.pos[0]),
    message:
      error.code === "DUPLICATE_KEY"
        ? "this key is in the map already; keep one"
        : (REMEDY[error.code] ?? lowerFirst(error.message)),
  }));
  // The first of a cascade tells the cause.
  if (document.errors.length > 0) return { content: undefined, problems: withoutCascade(problems), start, locate: () => start };
  const reader = new NodeReader(document, at, limits);
  const content = reader.read(document.contents);
  const all = [...problems, ...reader.problems];
  return {
    content: all.length > 0 ? undefined : content,
    problems: all,
    start,
    locate: (path, part = "value") => reader.locate(path, part) ?? start,
  };
}

function withoutCascade(problems: readonly TextProblem[]): readonly TextProblem[] {
  const tooDeep = problems.find(({ message }) => message === REMEDY["RESOURCE_EXHAUSTION"]);
  if (tooDeep) return [tooDeep];
  const seen = new Set<string>();
  return problems.filter(({ line, message }) => {
    const key = `${line} ${message}`;
    return !seen.has(key) && seen.add(key);
  });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

const pathKey = (path: FieldPath): string => JSON.stringify(path);

/** Turns nodes into JSON and remembers where each field was. */
class NodeReader {
  readonly problems: TextProblem[] = [];
  private readonly keys = new Map<string, number>();
  private readonly values = new Map<string, number>();
  private readonly expanding = new Set<Node>();
  private count = 0;
  private readonly document: Document.Parsed;
  private readonly at: (offset: number) => Position;
  private readonly limits: ParseLimits;

  constructor(document: Document.Parsed, at: (offset: number) => Position, limits: ParseLimits) {
    this.document = document;
    this.at = at;
    this.limits = limits;
  }

  locate(path: FieldPath, part: "key" | "value"): Position | undefined {
    for (let length = path.length; length >= 0; length--) {
      const key = pathKey(path.slice(0, length));
      const offset = (part === "key" ? this.keys.get(key) : undefined) ?? this.values.get(key) ?? this.keys.get(key);
      if (offset !== undefined) return this.at(offset);
    }
    return undefined;
  }

  read(node: Node | null): Json {
    return this.value(node, [], 0);
  }

  private value(node: Node | null, path: FieldPath, fallback: number): Json {
    if (node === null) return null;
    const offset = node.range?.[0] ?? fallback;
    if (!this.values.has(pathKey(path))) this.values.set(pathKey(path), offset);
    this.count++;
    if (this.count > this.limits.maxValues) {
      return this.stop(
        offset,
        `the document has more than ${this.limits.maxValues} values once its aliases are expanded; it is refused`,
      );
    }
    if (path.length > this.limits.maxDepth) {
      return this.stop(offset, `maps and lists are nested more than ${this.limits.maxDepth} deep`);
    }
    if (isAlias(node)) return this.alias(node.source, node.resolve(this.document), path, offset);
    if (isMap(node)) return this.map(node.items, path, offset);
    if (isSeq(node)) return node.items.map((item, index) => this.value(item as Node | null, [...path, index], offset));
    if (isScalar(node)) return this.scalar(node.value, offset);
    return null;
  }

  private stop(offset: number, message: string): Json {
    if (!this.problems.some((problem) => problem.message === message)) this.problems.push({ ...this.at(offset), message });
    return null;
  }

  private alias(name: string, target: Node | undefined, path: FieldPath, offset: number): Json {
    if (!target) return this.stop(offset, `there is no anchor &${name} before this alias`);
    if (this.expanding.has(target)) return this.stop(offset, `the alias *${name} contains itself`);
    this.expanding.add(target);
    const value = this.value(target, path, offset);
    this.expanding.delete(target);
    return value;
  }

  private map(items: readonly Pair<unknown, unknown>[], path: FieldPath, offset: number): Json {
    const result: Record<string, Json> = {};
    const merged: Json[] = [];
    for (const { key, value } of items) {
      const at = (key as Node | null)?.range?.[0] ?? offset;
      const name = isScalar(key) ? String(key.value) : undefined;
      if (name === undefined || name === "__proto__") {
        this.stop(at, name === undefined ? "a key must be plain text" : 'the key "__proto__" is not allowed');
        continue;
      }
      const here = [...path, name];
      if (isScalar(key) && key.value === "<<" && key.type === "PLAIN") merged.push(this.value(value as Node | null, path, at));
      else {
        this.keys.set(pathKey(here), at);
        this.values.delete(pathKey(here));
        result[name] = this.value(value as Node | null, here, at);
      }
    }
    return merged.length === 0 ? result : this.merge(merged.flat() as Json[], result, offset);
  }

  /** YAML 1.1 merge keys, as `kubectl` reads them: what is written beside `<<` wins, then the earlier map. */
  private merge(sources: readonly Json[], own: Record<string, Json>, offset: number): Json {
    let result: Record<string, Json> = {};
    for (const source of [...sources].reverse()) {
      if (source === null || typeof source !== "object" || Array.isArray(source)) {
        return this.stop(offset, "<< must name a map, or a list of maps");
      }
      result = { ...result, ...(source as { readonly [key: string]: Json }) };
    }
    return { ...result, ...own };
  }

  private scalar(value: unknown, offset: number): Json {
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    return this.stop(offset, "only text, finite numbers, true, false and null are allowed");
  }
}
