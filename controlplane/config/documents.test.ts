import { expect, test } from "vitest";
import { PARSE_LIMITS, readDocuments } from "./documents.ts";

const problems = (text: string, limits = PARSE_LIMITS) => {
  const file = readDocuments(text, limits);
  return [...file.problems, ...file.documents.flatMap((document) => document.problems)].map(
    (p) => `${p.line}:${p.column} ${p.message}`,
  );
};
const contents = (text: string) => readDocuments(text).documents.map((document) => document.content);

test("YAML, JSON, many documents, empty ones, comments, a byte order mark", () => {
  expect(contents("a: 1\n---\n---\nb: [x, 2.5, true, null]\n")).toEqual([{ a: 1 }, null, { b: ["x", 2.5, true, null] }]);
  expect(contents('{\n\t"a": {"b": []}\n}')).toEqual([{ a: { b: [] } }]);
  expect(contents("# nothing\n")).toEqual([]);
  expect(contents("")).toEqual([]);
  expect(contents("\uFEFFa: 1\r\nb: 2\r\n")).toEqual([{ a: 1, b: 2 }]);
});

test("words of YAML 1.1 stay text", () => {
  expect(contents("a: yes\nb: on\nc: 010\nd: 0x10\n")).toEqual([{ a: "yes", b: "on", c: 10, d: 16 }]);
});

test("anchors and merge keys are expanded; what is written beside << wins", () => {
  expect(contents("base: &b { x: 1, y: 2 }\nuse: { <<: *b, y: 3 }\nmany: { <<: [{ x: 5 }, *b] }\nq: { '<<': 1 }\n")).toEqual([
    { base: { x: 1, y: 2 }, use: { x: 1, y: 3 }, many: { x: 5, y: 2 }, q: { "<<": 1 } },
  ]);
});

test.each([
  ["tabs", "a:\n\t- b\n", ["2:1 tabs cannot indent in YAML; use spaces"]],
  ["a duplicate key", "a: 1\na: 2\n", ["2:1 this key is in the map already; keep one"]],
  ["two spellings of one key", "1: 2\n01: 3\n", ["2:1 this key is in the map already; keep one"]],
  ["an open quote", "a: 'x", ["1:6 missing closing 'quote"]],
  ["an unknown tag", "a: !foo 1", ["1:4 unresolved tag: !foo"]],
  ["an unknown alias", "a: *x", ["1:4 there is no anchor &x before this alias"]],
  ["an alias inside itself", "a: &x\n  b: *x\n", ["2:6 the alias *x contains itself"]],
  ["a key that is no text", "? [a]\n: 1", ["1:3 a key must be plain text"]],
  ["__proto__", "__proto__: 1", ['1:1 the key "__proto__" is not allowed']],
  ["merging what is no map", "a: { <<: 3 }", ["1:4 << must name a map, or a list of maps"]],
  ["not a number", "a: .nan", ["1:4 only text, finite numbers, true, false and null are allowed"]],
  ["NUL", "a: 1\nb\0: 2", ["2:2 the file has a NUL byte; it is no YAML or JSON text"]],
])("%s is told with its place", (_, text, expected) => {
  expect(problems(text)).toEqual(expected);
});

test("one broken document leaves the others alone", () => {
  const file = readDocuments("a: 1\n---\nb: [\n---\nc: 3\n");
  expect(file.documents.map((document) => document.content)).toEqual([{ a: 1 }, undefined, { c: 3 }]);
});

test("maxTextLength", () => {
  expect(problems("a: 12345", { ...PARSE_LIMITS, maxTextLength: 5 })).toEqual([
    "1:1 the file has 8 characters; at most 5 are read. Split it",
  ]);
});

test("maxDocuments: the first ones are read", () => {
  const limits = { ...PARSE_LIMITS, maxDocuments: 2 };
  expect(problems("a: 1\n---\nb: 1\n---\nc: 1\n", limits)).toEqual([
    "1:1 the file has 3 documents; at most 2 are read. Split it",
  ]);
  expect(readDocuments("a: 1\n---\nb: 1\n---\nc: 1\n", limits).documents).toHaveLength(2);
});

test("maxDepth, and depth beyond what the stack holds", () => {
  expect(problems("[[[1]]]", { ...PARSE_LIMITS, maxDepth: 2 })).toEqual(["1:4 maps and lists are nested more than 2 deep"]);
  expect(problems("[".repeat(20_000))).toEqual([expect.stringContaining("maps and lists are nested too deeply")]);
});

test("maxValues stops a billion laughs", () => {
  const nine = (name: string) => `[${Array(9).fill(`*${name}`).join(",")}]`;
  const laughs = `a: &a [l,o,l]\nb: &b ${nine("a")}\nc: &c ${nine("b")}\nd: &d ${nine("c")}\ne: &e ${nine("d")}\nf: &f ${nine("e")}\ng: ${nine("f")}\n`;
  const found = problems(laughs);
  expect(found).toHaveLength(1);
  expect(found[0]).toContain(`more than ${PARSE_LIMITS.maxValues} values once its aliases are expanded`);
});

test("fields know their places, keys and values apart", () => {
  const [document] = readDocuments("a:\n  - b: x\n    cc: y\nbase: &b { k: 1 }\nuse: { <<: *b }\n").documents;
  expect(document?.locate(["a", 0, "cc"])).toEqual({ line: 3, column: 9 });
  expect(document?.locate(["a", 0, "cc"], "key")).toEqual({ line: 3, column: 5 });
  expect(document?.locate(["a", 0, "missing", "deeper"])).toEqual({ line: 2, column: 5 });
  expect(document?.locate(["use", "k"])).toEqual({ line: 4, column: 15 });
});
