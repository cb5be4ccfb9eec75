/** The lists are complete, and what they name is there and runs. With UPDATE_DOCS=1 the page made from them is written anew. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Specification, TEST_FILES } from "./must.ts";
import { rulesPage } from "./page.ts";
import { RFC9110 } from "./rfc9110.ts";
import { RFC9112 } from "./rfc9112.ts";
import { RFC9113 } from "./rfc9113.ts";

const ALL: readonly Specification[] = [RFC9110, RFC9112, RFC9113];
const PAGE = "docs/http-rules.md";
const FIXED = /^[\w-]+: \S/;

/** Tables are run by these. */
const RUN_BY: { readonly [table: string]: string } = {
  "test/wire/requests.ts": "test/wire/http1.test.ts",
  "test/wire/responses.ts": "test/wire/http1.test.ts",
  "test/wire/http2-cases.ts": "gateway/wire/http2/strictness.test.ts",
  "test/conformance/cases/": "test/conformance/memory.test.ts",
};

function problemOf(reference: string): string | undefined {
  const colon = reference.indexOf(": ");
  const path = TEST_FILES[reference.slice(0, colon)];
  if (path === undefined) return `${reference}: no such file is listed in TEST_FILES`;
  if (!existsSync(path)) return `${reference}: ${path} is not there`;
  const title = reference.slice(colon + 2);
  return wording(title).test(readFileSync(path, "utf8")) ? undefined : `${reference}: no test of ${path} has that title`;
}

/** A title as it is written in a test: in quotes, with a placeholder for each `…`. */
function wording(title: string): RegExp {
  const escaped = title.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("…", "\\$\\{[^}]*\\}");
  return new RegExp(`(["\x60'])${escaped}\\1`);
}

function counted(entries: readonly { readonly section: string; readonly statements: number }[]): { [section: string]: number } {
  const counts: { [section: string]: number } = {};
  for (const { section, statements } of entries) counts[section] = (counts[section] ?? 0) + statements;
  return counts;
}

describe.each(ALL.map((one) => [one.name, one] as const))("%s", (_, specification) => {
  it("every statement is ours, and held, or somebody else's, and said why", () => {
    expect(counted([...specification.musts, ...specification.others])).toEqual(specification.statements);
  });

  it("every rule names tests, and they are there", () => {
    for (const { section, held } of specification.musts) expect(held.length, section).toBeGreaterThan(0);
    const references = specification.musts.flatMap(({ held }) => held);
    expect(references.filter((reference) => !FIXED.test(reference))).toEqual([]);
    expect(references.map(problemOf).filter((problem) => problem !== undefined)).toEqual([]);
  });
});

it("every listed file is a test or a table that one runs, and is named by a rule", () => {
  const named = new Set(
    ALL.flatMap(({ musts }) => musts.flatMap(({ held }) => held.map((one) => one.slice(0, one.indexOf(": "))))),
  );
  expect(Object.keys(TEST_FILES).filter((name) => !named.has(name))).toEqual([]);
  const tables = Object.values(TEST_FILES).filter((path) => !path.endsWith(".test.ts"));
  const runner = (path: string) => Object.entries(RUN_BY).find(([table]) => path.startsWith(table))?.[1];
  expect(tables.filter((path) => !existsSync(runner(path) ?? ""))).toEqual([]);
});

it(`makes ${PAGE} from the lists`, () => {
  if (process.env["UPDATE_DOCS"] === "1") writeFileSync(PAGE, rulesPage(ALL));
  expect(readFileSync(PAGE, "utf8")).toBe(rulesPage(ALL));
});
