/** What the documents say is so: YAML validates, names of metrics and fields exist, links lead somewhere, the reference is the code's. */
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { formatProblem, problemsOf, validateText } from "../../controlplane/config/index.ts";
import { RESPONSE_FLAGS } from "../../gateway/core/telemetry/flags.ts";
import { referencePage } from "../support/reference.ts";
import { codeBlocks } from "../support/walk.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
const PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", ...globSync("docs/*.md", { cwd: ROOT }).toSorted()];
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const operations = (): string => read("docs/operations.md");

describe.each(PAGES)("%s", (page) => {
  const blocks = codeBlocks(read(page));

  it("has YAML that the control plane accepts", () => {
    const problems = blocks
      .filter(({ language }) => language === "yaml")
      .flatMap(({ text, line }) => {
        const validation = validateText(text, `${page}:${line}`, { nowMs: 0 });
        return [
          ...problemsOf(validation).map(formatProblem),
          ...(validation.objects.length === 0 ? [`${page}:${line}: no object`] : []),
        ];
      });
    expect(problems).toEqual([]);
  });

  it("names commands that exist", () => {
    const verbs = new Set(globSync("controlplane/cli/verbs/*.ts", { cwd: ROOT }).map((path) => path.replace(/.*\/|\.ts$/g, "")));
    const named = [...read(page).matchAll(/npx tidegate ([a-z]+)/g)].map(([, verb = ""]) => verb);
    expect(named.filter((verb) => !verbs.has(verb))).toEqual([]);
  });

  it("has links that lead somewhere", () => {
    const targets = [...read(page).matchAll(/\]\((?!https?:)([^)#\s]+)[^)]*\)/g)].map(([, target = ""]) => target);
    const missing = targets.filter((target) => !existsSync(join(ROOT, dirname(page), target)));
    expect(missing).toEqual([]);
  });
});

it("makes docs/reference.md from the code", () => {
  const path = join(ROOT, "docs/reference.md");
  if (process.env["UPDATE_DOCS"] === "1") writeFileSync(path, referencePage());
  expect(readFileSync(path, "utf8")).toBe(referencePage());
});

it("explains every response flag", () => {
  expect(Object.keys(RESPONSE_FLAGS).filter((flag) => !operations().includes(`\`${flag}\``))).toEqual([]);
});

it("names every metric, and none that is not there", () => {
  const sources = globSync(["gateway/{core,node}/**/*.ts"], { cwd: ROOT }).filter((path) => !path.endsWith(".test.ts"));
  const known = new Set(
    sources.flatMap((path) => read(path).match(/"(istio|tidegate)_[a-z_]+"/g) ?? []).map((name) => name.slice(1, -1)),
  );
  const told = new Set([...operations().matchAll(/`((?:istio|tidegate)_[a-z_]+)/g)].map(([, name = ""]) => name));
  expect([...known].filter((name) => !told.has(name))).toEqual([]);
  expect([...told].filter((name) => !known.has(name))).toEqual([]);
});

it("explains every field of the access log and of the decision log", () => {
  const access = [...read("gateway/core/telemetry/access-log.ts").matchAll(/"([a-z_]+)":/g)];
  const decisions = [...read("gateway/core/egress/decision-line.ts").matchAll(/(?:^ {4}|\{ )([a-z_]+): (?!string|unknown)/gm)];
  expect([access.length, decisions.length]).toEqual([expect.toSatisfy((n) => n > 20), expect.toSatisfy((n) => n > 12)]);
  const fields = [...access, ...decisions].map(([, field = ""]) => field).filter((field) => field !== "log");
  expect(fields.filter((field) => !operations().includes(`\`${field}\``))).toEqual([]);
});

it("speaks of files in this repository as they lie", () => {
  const told = PAGES.flatMap((page) =>
    [...read(page).matchAll(/`((?:samples|docs|gateway|controlplane|test)\/[\w./-]+)`/g)].map(([, path = ""]) => path),
  );
  expect(told.filter((path) => !existsSync(join(ROOT, path))).map((path) => relative(ROOT, join(ROOT, path)))).toEqual([]);
});
