import { expect, test, vi } from "vitest";
import { checkReferences } from "./references.ts";
import { formatProblem, refKey } from "./resource.ts";
import { IN_MEMORY, SqliteStore } from "./sqlite.ts";
import { statusesOf } from "./status.ts";
import { type ConfigSet, ConfigStore, DIRECTORY_ORIGIN } from "./store.ts";
import { object } from "./test-objects.ts";

function persistence(): SqliteStore {
  const opened = SqliteStore.open(IN_MEMORY);
  if (!opened.ok) throw new Error(opened.error);
  return opened.value;
}

function store(disk = persistence()) {
  let now = 1000;
  const config = new ConfigStore({ persistence: disk, nowMs: () => now++ });
  return { config, disk, fromFiles: (files: { readonly [file: string]: string }) => replaceAll(config, files) };
}

function replaceAll(config: ConfigStore, files: { readonly [file: string]: string }): ConfigSet {
  const read = Object.entries(files).map(([file, text]) => config.validate(text, file));
  const validation = { objects: read.flatMap(({ objects }) => objects), problems: read.flatMap(({ problems }) => problems) };
  return config.replace(DIRECTORY_ORIGIN, validation, "directory");
}

const entry = (name: string, host: string) => object("ServiceEntry", `{ hosts: [${host}] }`).replace("name: x", `name: ${name}`);
const who = { who: "anna" };
const ref = (name: string, kind = "ServiceEntry") => ({ kind, namespace: "default", name });
const inForce = (set: ConfigSet) =>
  set.resources.map(
    ({ metadata, spec }) => `${metadata.name}@${metadata.generation} ${"hosts" in spec ? spec.hosts.join() : ""}`,
  );

test("apply creates, updates, leaves alone, and refuses by name; the rest is in force", () => {
  const { config } = store();
  const told: number[] = [];
  const stop = config.subscribe((set) => told.push(set.version));
  const first = config.apply(`${entry("a", "a.example.com")}---\n${entry("b", "B.example.com")}`, who);
  expect(first.objects.map(({ ref, outcome, generation }) => [ref.name, outcome, generation])).toEqual([
    ["a", "created", 1],
    ["b", "refused", undefined],
  ]);
  expect(inForce(config.set)).toEqual(["a@1 a.example.com"]);
  expect(config.apply(entry("a", "a.example.com"), who).objects[0]?.outcome).toBe("unchanged");
  expect(config.apply(entry("a", "a2.example.com"), who).objects[0]).toMatchObject({ outcome: "updated", generation: 2 });
  const [resource] = config.set.resources;
  expect(resource?.metadata.createdMs).toBe(1000);
  expect(told).toEqual([2, 3]);
  stop();
  config.delete([ref("a")], who);
  expect(told).toEqual([2, 3]);
});

test("a refused update leaves the last good generation in force", () => {
  const { config } = store();
  config.apply(entry("a", "a.example.com"), who);
  const outcome = config.apply(entry("a", "A.example.com"), who);
  expect(outcome.objects[0]).toMatchObject({ outcome: "refused", generation: 1 });
  expect(outcome.objects[0]?.problems.map(formatProblem)).toEqual([
    'api:4:17: ServiceEntry default/a: spec.hosts[0]: "A.example.com" has upper case letters; write "a.example.com"',
  ]);
  expect(inForce(config.set)).toEqual(["a@1 a.example.com"]);
});

test("optimistic concurrency: a generation that somebody else changed is refused", () => {
  const { config } = store();
  config.apply(entry("a", "a.example.com"), who);
  const expecting = (generation: number) => ({ ...who, expect: new Map([[refKey(ref("a")), generation]]) });
  expect(config.apply(entry("a", "b.example.com"), expecting(0)).objects[0]?.problems[0]?.message).toBe(
    "somebody else was faster: the object is at generation 1, generation 0 was expected; get it again and repeat the change",
  );
  expect(config.apply(entry("a", "b.example.com"), expecting(1)).objects[0]?.outcome).toBe("updated");
  expect(config.delete([ref("a")], expecting(1)).objects[0]?.outcome).toBe("refused");
  expect(config.delete([ref("a")], expecting(2)).objects[0]?.outcome).toBe("deleted");
});

test("deleting what is not there, or comes from a file, says so", () => {
  const { config, fromFiles } = store();
  fromFiles({ "mesh/a.yaml": entry("a", "a.example.com") });
  expect(
    config.delete([ref("a"), ref("z")], who).objects.map(({ outcome, problems }) => [outcome, problems[0]?.message]),
  ).toEqual([
    ["missing", "the object comes from mesh/a.yaml; delete it there"],
    ["missing", "there is no ServiceEntry default/z"],
  ]);
});

test("history tells who changed what and when, newest first", () => {
  const { config } = store();
  config.apply(entry("a", "a.example.com"), who);
  config.apply(entry("a", "b.example.com"), { who: "ben" });
  config.apply(entry("c", "c.example.com"), who);
  config.delete([ref("a")], who);
  expect(
    config.history(ref("a")).map(({ who, change, generation, manifest }) => [who, change, generation, manifest.spec]),
  ).toEqual([
    ["anna", "deleted", 2, { hosts: ["b.example.com"] }],
    ["ben", "updated", 2, { hosts: ["b.example.com"] }],
    ["anna", "created", 1, { hosts: ["a.example.com"] }],
  ]);
  expect(config.history(undefined, 2)).toHaveLength(2);
});

test("objects, creation times and generations survive a restart", () => {
  const { config, disk } = store();
  config.apply(entry("a", "a.example.com"), who);
  config.apply(entry("a", "b.example.com"), who);
  const again = store(disk).config;
  expect(inForce(again.set)).toEqual(["a@2 b.example.com"]);
  expect(again.set.resources[0]?.metadata.createdMs).toBe(1000);
  expect(again.manifest(ref("a"))?.spec).toEqual({ hosts: ["b.example.com"] });
});

test("a disk that refuses changes nothing", () => {
  const { config, disk } = store();
  config.apply(entry("a", "a.example.com"), who);
  vi.spyOn(disk, "commit").mockImplementation(() => {
    throw new Error("disk full");
  });
  expect(() => config.apply(entry("a", "b.example.com"), who)).toThrow("disk full");
  expect(inForce(config.set)).toEqual(["a@1 a.example.com"]);
});

test("a directory: what is gone is deleted, what is bad keeps its last good generation and says why", () => {
  const { config, fromFiles } = store();
  fromFiles({
    "a.yaml": `${entry("a", "a.example.com")}---\n${entry("b", "b.example.com")}`,
    "c.yaml": entry("c", "c.example.com"),
  });
  const set = fromFiles({ "a.yaml": entry("a", "A.example.com") });
  expect(inForce(set)).toEqual(["a@1 a.example.com"]);
  const [status] = statusesOf(set.objects, []);
  expect(status).toMatchObject({ accepted: false, generation: 1, origin: "directory" });
  expect(status?.problems.map(({ message }) => message)).toEqual([
    '"A.example.com" has upper case letters; write "a.example.com"',
  ]);
  expect(
    config
      .history()
      .map(({ change, ref }) => `${change} ${ref.name}`)
      .slice(0, 2),
  ).toEqual(["deleted c", "deleted b"]);
});

test("a file that cannot be parsed, and one whose kind is misspelt, keep what they said, over a restart, too", () => {
  const { config, disk, fromFiles } = store();
  fromFiles({
    "a.yaml": entry("a", "a.example.com"),
    "b.yaml": entry("b", "b.example.com"),
    "c.yaml": entry("c", "c.example.com"),
  });
  const bad = { "a.yaml": "spec: [", "b.yaml": entry("b", "b.example.com").replace("ServiceEntry", "ServiceEntri") };
  expect(inForce(fromFiles(bad)).sort()).toEqual(["a@1 a.example.com", "b@1 b.example.com"]);
  expect(config.set.problems.map(({ message }) => message)).toHaveLength(2);
  expect(inForce(replaceAll(store(disk).config, bad)).sort()).toEqual(["a@1 a.example.com", "b@1 b.example.com"]);
  expect(inForce(fromFiles({ "a.yaml": "" }))).toEqual([]);
});

test("an object that moves to another file is the same one, and no news", () => {
  const { config, fromFiles } = store();
  fromFiles({ "a.yaml": entry("a", "a.example.com") });
  const set = fromFiles({ "b.yaml": entry("a", "a.example.com") });
  expect(inForce(set)).toEqual(["a@1 a.example.com"]);
  expect(config.history()).toHaveLength(1);
  expect(inForce(fromFiles({ "b.yaml": "spec: [" }))).toEqual(["a@1 a.example.com"]);
});

test("the same object twice: the first is in force, the directory before the API, and both places say so", () => {
  const { config, fromFiles } = store();
  config.apply(entry("a", "api.example.com"), who);
  const set = fromFiles({ "a.yaml": entry("a", "file.example.com"), "b.yaml": entry("a", "again.example.com") });
  expect(inForce(set)).toEqual(["a@1 file.example.com"]);
  expect(set.objects[0]?.problems.map((problem) => `${problem.severity} ${formatProblem(problem)}`)).toEqual([
    "conflict a.yaml:3:19: ServiceEntry default/a: metadata.name: the object is defined again at b.yaml:1:1, which is not used; remove one of them",
    "conflict b.yaml:3:19: ServiceEntry default/a: metadata.name: the object is defined already at a.yaml:1:1, so this one is not used; remove one of them",
    "conflict a.yaml:3:19: ServiceEntry default/a: metadata.name: the object is defined again at api:1:1, which is not used; remove one of them",
    "conflict api:3:19: ServiceEntry default/a: metadata.name: the object is defined already at a.yaml:1:1, so this one is not used; remove one of them",
  ]);
  expect(statusesOf(set.objects, [])[0]?.accepted).toBe(true);
});

test("what the directory holds is not applied beside it", () => {
  const { config, fromFiles } = store();
  fromFiles({ "a.yaml": entry("a", "a.example.com") });
  const told =
    "api: ServiceEntry default/a: metadata.name: the object comes from a.yaml; change it there, or take it out there first";
  const { objects } = config.apply(entry("a", "b.example.com"), who);
  expect(objects.map(({ outcome, problems }) => [outcome, problems.map(formatProblem)])).toEqual([["refused", [told]]]);
  const diff = config.diff(entry("a", "b.example.com"));
  expect(diff.objects.map(({ change, problems }) => [change, problems.map(formatProblem)])).toEqual([["updated", [told]]]);
  expect(inForce(config.set)).toEqual(["a@1 a.example.com"]);
});

test("an object that was never good takes no good one of another source out of force", () => {
  const { config, fromFiles } = store();
  config.apply(entry("a", "api.example.com"), who);
  const { objects, resources } = fromFiles({ "a.yaml": entry("a", "A.example.com") });
  expect(resources.map(({ spec }) => "hosts" in spec && spec.hosts)).toEqual([["api.example.com"]]);
  expect(objects[0]?.problems.map(formatProblem)).toEqual([
    expect.stringContaining("a.yaml:4:17: ServiceEntry default/a: spec.hosts[0]: "),
    "api:3:19: ServiceEntry default/a: metadata.name: the object is defined again at a.yaml:1:1, which is not used; remove one of them",
    "a.yaml:3:19: ServiceEntry default/a: metadata.name: the object is defined already at api:1:1, so this one is not used; remove one of them",
  ]);
  expect(inForce(fromFiles({ "a.yaml": entry("a", "a.example.com") }))).toEqual(["a@1 a.example.com"]);
});

test("a text that defines an object twice is refused", () => {
  const { config } = store();
  const { objects } = config.apply(`${entry("a", "a.example.com")}---\n${entry("a", "b.example.com")}`, who);
  expect(objects.map(({ outcome, problems }) => [outcome, problems[0]?.message])).toEqual([
    ["refused", "the text defines the object more than once; keep one"],
  ]);
});

test("one MeshConfig: a second one is refused by name, applied or written", () => {
  const mesh = (name: string) => object("MeshConfig", "{}").replace("name: x", `name: ${name}`);
  const { config, fromFiles } = store();
  config.apply(mesh("one"), who);
  expect(config.apply(mesh("two"), who).objects[0]?.problems[0]?.message).toBe(
    "a mesh has one MeshConfig, and that is default/one; change that one, or delete it first",
  );
  const set = fromFiles({ "m.yaml": `${mesh("three")}---\n${mesh("four")}` });
  expect(set.resources.map(({ metadata }) => metadata.name)).toEqual(["three"]);
  expect(statusesOf(set.objects, []).map(({ ref, accepted }) => [ref.name, accepted])).toEqual([
    ["three", true],
    ["four", false],
    ["one", false],
  ]);
});

test("diff names the fields that would change", () => {
  const { config } = store();
  config.apply(entry("a", "a.example.com"), who);
  const { objects } = config.diff(`${entry("a", "b.example.com")}---\n${entry("n", "n.example.com")}---\n${entry("z", "Z")}`);
  expect(objects.map(({ ref, change, fields }) => [ref.name, change, fields])).toEqual([
    ["a", "updated", [{ path: "spec.hosts[0]", before: "a.example.com", after: "b.example.com" }]],
    ["n", "created", []],
    ["z", "refused", []],
  ]);
  expect(inForce(config.set)).toEqual(["a@1 a.example.com"]);
});

test("statuses carry later problems and where an object is programmed", () => {
  const { config } = store();
  config.apply(object("DestinationRule", "{ host: nowhere.example.com }"), who);
  const { set } = config;
  const programmed = { programmed: () => [{ pool: "ingress", snapshot: "1.7", sinceMs: 5 }] };
  const [status] = statusesOf(set.objects, checkReferences(set.resources, { locate: set.locate }), programmed);
  expect(status).toMatchObject({ accepted: true, generation: 1, programmed: [{ pool: "ingress", snapshot: "1.7" }] });
  expect(status?.problems.map(formatProblem)).toEqual([
    'api:4:15: DestinationRule default/x: spec.host: no service has the host "nowhere.example.com"; the rule has no effect until one has',
  ]);
});
