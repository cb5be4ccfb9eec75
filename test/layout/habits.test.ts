/** Habits that keep the code honest: types, limits, error codes, flags, and how tests wait. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { shipped, sources } from "./sources.ts";

const tests = () => sources().filter((file) => file.test);
const testText = () =>
  tests()
    .map((file) => file.text)
    .join("\n");

test("types: core and wire check without any runtime's names", () => {
  for (const room of ["core", "wire"]) execFileSync("tsc", ["-p", `gateway/${room}`], { stdio: "pipe" });
}, 60_000);

test("no any, no silenced checker; a non-null assertion gives its reason on the line", () => {
  const wrong = shipped().flatMap((file) =>
    file.text.split("\n").flatMap((line, index) => {
      const code = line.replace(/\/\/.*$/, "").replace(/"[^"]*"|`[^`]*`|\/\*.*?\*\//g, "");
      const bad =
        /@ts-(ignore|expect-error|nocheck)/.test(line) ||
        /(?:[:<|&]\s*|\bas\s+)any(?:\[\])*(?=\s*(?:[;,)>\]|&=]|$))/.test(code.replace(/^\s*\*.*$/, "")) ||
        (/[\w)\]]!(?=[.;,)\]\s[]|$)(?!=)/.test(code.replace(/^\s*\*.*$/, "")) && !/\/\/ \S/.test(line));
      return bad ? [`${file.path}:${index + 1}: ${line.trim()}`] : [];
    }),
  );
  expect(wrong).toEqual([]);
});

test("every suppressed lint says why", () => {
  const wrong = sources().flatMap((file) =>
    [...file.text.matchAll(/biome-ignore[^\n]*/g)].filter((m) => !/: \S+ \S+/.test(m[0])).map((m) => `${file.path}: ${m[0]}`),
  );
  expect(wrong).toEqual([]);
});

test("each named limit appears in a test", () => {
  const all = testText();
  const limits = shipped()
    .filter((file) => !file.path.startsWith("samples/"))
    .flatMap((file) => [
      ...[...file.text.matchAll(/export const (MAX_[A-Z0-9_]+)/g)].map((m) => m[1] ?? ""),
      ...(/(limits|settings)\.ts$/.test(file.path)
        ? [...file.text.matchAll(/readonly (max[A-Z]\w+)\??:/g)].map((m) => m[1] ?? "")
        : []),
    ]);
  expect(limits.length).toBeGreaterThan(10);
  expect([...new Set(limits)].filter((name) => !new RegExp(`\\b${name}\\b`).test(all))).toEqual([]);
});

test("every error code is rendered in respond.ts and met in a test", () => {
  const union = readFileSync("gateway/core/error.ts", "utf8").match(/export type ErrorCode =([\s\S]*?);/)?.[1] ?? "";
  const codes = [...union.matchAll(/"([a-z_]+)"/g)].map((m) => m[1] ?? "");
  expect(codes.length).toBeGreaterThan(20);
  const respond = readFileSync("gateway/core/respond.ts", "utf8");
  const all = testText();
  expect(codes.filter((code) => !new RegExp(`\\b${code}\\b`).test(respond))).toEqual([]);
  expect(codes.filter((code) => !new RegExp(`\\b${code}\\b`).test(all))).toEqual([]);
});

test("each configuration kind has a golden pair", () => {
  const kinds = globSync("controlplane/config/kinds/{istio,native}/*.ts")
    .filter((path) => !/\.test\.ts$/.test(path))
    .flatMap((path) => [...readFileSync(path, "utf8").matchAll(/\bkind: "([A-Z]\w+)"/g)].map((m) => m[1] ?? ""));
  expect(new Set(kinds).size).toBeGreaterThanOrEqual(8);
  const golden = globSync("test/golden/**/*.in.yaml")
    .filter((path) => existsSync(path.replace(".in.yaml", ".ir.yaml")))
    .map((path) => readFileSync(path, "utf8"))
    .join("\n");
  expect([...new Set(kinds)].filter((kind) => !new RegExp(`^kind: ${kind}$`, "m").test(golden))).toEqual([]);
});

test("unit tests own their clock: none waits by timer", () => {
  const wrong = tests()
    .filter((file) => !file.path.startsWith("test/"))
    .filter((file) => /setTimeout|setInterval|timers\/promises/.test(file.text))
    .map((file) => file.path);
  expect(wrong).toEqual([]);
});

test("no test resolves a name beyond loopback", () => {
  const wrong = tests().flatMap((file) =>
    [...file.text.matchAll(/\b(?:connect|request|get|fetch|lookup)\(\s*["'`](?:https?:\/\/)?([a-z][a-z0-9.-]+\.[a-z]{2,})/g)]
      .filter((m) => !/(^|\.)localhost$/.test(m[1] ?? ""))
      .map((m) => `${file.path}: ${m[0]}`),
  );
  expect(wrong).toEqual([]);
});

test("nothing unfinished is left in the code", () => {
  const wrong = sources().flatMap((file) =>
    file.path.startsWith("test/layout/")
      ? []
      : [...file.text.matchAll(/\b(TODO|FIXME|XXX|HACK)\b|\.(skip|only|todo)\(/g)].map((m) => `${file.path}: ${m[0]}`),
  );
  expect(wrong).toEqual([]);
});
