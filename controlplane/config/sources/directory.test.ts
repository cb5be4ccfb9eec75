import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { formatProblem } from "../resource.ts";
import { object } from "../test-objects.ts";
import { type Validation, validateText } from "../validate.ts";
import { DIRECTORY_LIMITS, DirectorySource, type DirectorySourceOptions } from "./directory.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tidegate-directory-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Timers that run when the test says so. */
class Timers {
  private readonly waiting = new Map<number, { readonly ms: number; readonly run: () => void }>();
  private next = 0;

  after = (ms: number, run: () => void): (() => void) => {
    const id = this.next++;
    this.waiting.set(id, { ms, run });
    return () => this.waiting.delete(id);
  };

  /** Runs what waits for exactly this long. */
  elapse(ms: number): number {
    const due = [...this.waiting].filter(([, timer]) => timer.ms === ms);
    for (const [id] of due) this.waiting.delete(id);
    for (const [, { run }] of due) run();
    return due.length;
  }

  get count(): number {
    return this.waiting.size;
  }
}

function start(more: Partial<DirectorySourceOptions> = {}) {
  const published: Validation[] = [];
  const timers = new Timers();
  let changed = () => {};
  const source = new DirectorySource({
    root,
    validate: (text, file) => validateText(text, relative(root, file), { nowMs: 0 }),
    publish: (validation) => published.push(validation),
    after: timers.after,
    watch: (_, run) => {
      changed = run;
      return () => {};
    },
    ...more,
  });
  source.start();
  return {
    source,
    timers,
    published,
    hosts: () =>
      published.at(-1)?.objects.flatMap(({ resource }) => (resource?.kind === "ServiceEntry" ? resource.spec.hosts : [])),
    problems: () => published.at(-1)?.problems.map(formatProblem),
    /** An event, and the quiet after it. */
    event: () => {
      changed();
      timers.elapse(50);
    },
    changed: () => changed(),
  };
}

const entry = (host: string) => object("ServiceEntry", `{ hosts: [${host}] }`).replace("name: x", `name: ${host}`);
const write = (name: string, text: string) => writeFileSync(join(root, name), text);

test("YAML and JSON of the tree, sorted; hidden and other files are not read", () => {
  mkdirSync(join(root, "more"));
  write("b.yaml", entry("b"));
  write("a.yml", `${entry("a1")}---\n${entry("a2")}`);
  write(
    "more/c.json",
    JSON.stringify({
      apiVersion: "networking.istio.io/v1",
      kind: "ServiceEntry",
      metadata: { name: "c" },
      spec: { hosts: ["c"] },
    }),
  );
  write("README.md", "x");
  write(".hidden.yaml", "broken: [");
  write("#a.yaml", "broken: [");
  write("a.yaml~", "broken: [");
  const { hosts, problems, published } = start();
  expect(hosts()).toEqual(["a1", "a2", "b", "c"]);
  expect(problems()).toEqual([]);
  expect(published).toHaveLength(1);
});

test("an editor's atomic save, a deletion, a rename", () => {
  write("a.yaml", entry("a"));
  write("b.yaml", entry("b"));
  const { hosts, event } = start();
  write(".a.yaml.swp", entry("half"));
  renameSync(join(root, ".a.yaml.swp"), join(root, "a.yaml"));
  event();
  expect(hosts()).toEqual(["half", "b"]);
  unlinkSync(join(root, "b.yaml"));
  event();
  expect(hosts()).toEqual(["half"]);
  renameSync(join(root, "a.yaml"), join(root, "z.yaml"));
  event();
  expect(hosts()).toEqual(["half"]);
});

test("files are read when it is quiet: a burst of events is one reading", () => {
  write("a.yaml", entry("a"));
  const { published, timers, changed } = start();
  write("a.yaml", "spec: [");
  changed();
  changed();
  write("a.yaml", entry("b"));
  changed();
  expect(timers.elapse(50)).toBe(1);
  expect(published).toHaveLength(2);
  expect(published[1]?.problems).toEqual([]);
});

test("an event without a change publishes nothing", () => {
  write("a.yaml", entry("a"));
  const { published, event } = start();
  event();
  expect(published).toHaveLength(1);
});

test("a broken file is a problem with its place", () => {
  write("a.yaml", entry("a"));
  const { problems, event } = start();
  write("a.yaml", `${entry("a")}---\nspec: [`);
  event();
  expect(problems()).toEqual([expect.stringMatching(/^a\.yaml:6:8: flow sequence .*must .*end with a \]$/)]);
});

test("a truncated file keeps its objects until it stays empty", () => {
  write("a.yaml", entry("a"));
  const { hosts, timers, event } = start();
  write("a.yaml", "");
  event();
  expect(hosts()).toEqual(["a"]);
  timers.elapse(2000);
  expect(hosts()).toEqual(["a"]);
  write("a.yaml", entry("b"));
  event();
  expect(hosts()).toEqual(["b"]);
  timers.elapse(500);
  expect(hosts()).toEqual(["b"]);
  write("a.yaml", "");
  event();
  timers.elapse(500);
  expect(hosts()).toEqual([]);
});

test("a ConfigMap mount: files are links through ..data, which is swapped", () => {
  for (const [version, host] of [
    ["..1", "one"],
    ["..2", "two"],
  ] as const) {
    mkdirSync(join(root, version));
    write(join(version, "a.yaml"), entry(host));
  }
  symlinkSync("..1", join(root, "..data"));
  symlinkSync(join("..data", "a.yaml"), join(root, "a.yaml"));
  const { hosts, event } = start();
  expect(hosts()).toEqual(["one"]);
  symlinkSync("..2", join(root, "..data_tmp"));
  renameSync(join(root, "..data_tmp"), join(root, "..data"));
  event();
  expect(hosts()).toEqual(["two"]);
});

test("a change without an event is found by looking again", () => {
  write("a.yaml", entry("a"));
  const { hosts, timers } = start();
  write("a.yaml", entry("b"));
  timers.elapse(2000);
  expect(hosts()).toEqual(["b"]);
  expect(timers.count).toBe(1);
});

test("links in a circle end", () => {
  mkdirSync(join(root, "sub"));
  symlinkSync("..", join(root, "sub", "up"));
  write("a.yaml", entry("a"));
  expect(start().hosts()).toEqual(["a"]);
});

test("a directory that does not exist says so, and is read once it does", () => {
  rmSync(root, { recursive: true });
  const { hosts, problems, timers } = start();
  expect(problems()).toEqual([`${root}: the directory cannot be read: it does not exist`]);
  mkdirSync(root);
  write("a.yaml", entry("a"));
  timers.elapse(2000);
  expect(hosts()).toEqual(["a"]);
  expect(problems()).toEqual([]);
});

test("maxFiles, maxDepth, maxFileBytes", () => {
  mkdirSync(join(root, "s", "t"), { recursive: true });
  write("a.yaml", entry("a"));
  write("b.yaml", entry("b".repeat(60)));
  write("c.yaml", entry("c"));
  write("s/t/d.yaml", entry("d"));
  const { hosts, problems } = start({ limits: { ...DIRECTORY_LIMITS, maxFiles: 2, maxDepth: 1, maxFileBytes: 120 } });
  expect(hosts()).toEqual(["a"]);
  expect(problems()).toEqual([
    `${root}: the directory has more than 2 files; the rest is not read`,
    `${join(root, "s", "t")}: directories are nested more than 1 deep; what is below is not read`,
    expect.stringContaining("bytes; at most 120 are read. Split it"),
  ]);
});

test("after closing nothing happens any more", () => {
  const { source, timers, published, event } = start();
  source.close();
  write("a.yaml", entry("a"));
  event();
  source.scan();
  expect(timers.count).toBe(0);
  expect(published).toHaveLength(1);
});
