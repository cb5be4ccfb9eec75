/**
 * Golden pairs: `name.in.yaml` (objects as a user writes them) → `name.ir.yaml` (the snapshot of one pool) and `name.problems.txt` (what the
 * objects' owners are told; absent when that is nothing). `UPDATE_GOLDEN=1` writes them anew; the diff is what gets reviewed.
 *
 * An input may start with `# pool: <name>` (default `ingress`; a site's is its audience), `# namespace: <gateway namespace>` (default the root
 * namespace) and `# key: <site> <x>` (the public key that a site's passports are checked by). Settings stand in the output only where they
 * are not the defaults.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chunkSnapshot, diffSnapshots } from "../../controlplane/snapshot/index.ts";
import { compile, compileEgress } from "../../gateway/core/index.ts";
import { decodeSnapshot } from "../../gateway/core/ir/index.ts";
import { formatPairs, translateText } from "../support/translate-text.ts";

const HERE = import.meta.dirname;
const UPDATE = process.env["UPDATE_GOLDEN"] === "1";
const names = readdirSync(HERE)
  .filter((name) => name.endsWith(".in.yaml"))
  .map((name) => name.slice(0, -".in.yaml".length))
  .sort();

test.each(names)("%s", (name) => {
  const input = readFileSync(join(HERE, `${name}.in.yaml`), "utf8");
  const { snapshot, problems } = translateText(input, `${name}.in.yaml`);
  const pairs = formatPairs(snapshot, problems);
  check(join(HERE, `${name}.ir.yaml`), pairs.ir);
  check(join(HERE, `${name}.problems.txt`), pairs.problems);
});

test.each(names)("%s: whatever the order of its objects, the bytes are the same", (name) => {
  const input = readFileSync(join(HERE, `${name}.in.yaml`), "utf8");
  const forward = translateText(input, name);
  const backward = translateText(input, name, (objects) => [...objects].reverse());
  expect(JSON.stringify(backward)).toBe(JSON.stringify(forward));
});

test.each(names)("%s: a reader takes the snapshot, and nothing is lost on the way", (name) => {
  const { snapshot } = translateText(readFileSync(join(HERE, `${name}.in.yaml`), "utf8"), name);
  const decoded = decodeSnapshot(chunkSnapshot(snapshot));
  expect(decoded.ok ? [] : decoded.error).toEqual([]);
  expect(decoded.ok ? diffSnapshots(snapshot, decoded.value) : undefined).toEqual([]);
  const compiled = compile(snapshot, "1.1", undefined);
  expect(compiled.ok ? [] : compiled.error).toEqual([]);
  const egress =
    snapshot.egress === undefined ? undefined : compileEgress(snapshot.egress, compiled.ok ? compiled.value.quotas : new Map());
  expect(egress === undefined || egress.ok ? [] : egress.error).toEqual([]);
});

test("every output has its input", () => {
  const orphans = readdirSync(HERE).filter(
    (name) => /\.(ir\.yaml|problems\.txt)$/.test(name) && !names.includes(name.replace(/\.(ir\.yaml|problems\.txt)$/, "")),
  );
  expect(orphans).toEqual([]);
});

function check(path: string, text: string): void {
  if (UPDATE) {
    if (text !== "") writeFileSync(path, text);
    else if (existsSync(path)) rmSync(path);
    return;
  }
  expect(existsSync(path) ? readFileSync(path, "utf8") : "").toBe(text);
}
