import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readPlan } from "./up-plan.ts";
import { upPorts } from "./up-ports.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tidegate-up-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function plan(content: unknown) {
  writeFileSync(join(folder, "up.json"), typeof content === "string" ? content : JSON.stringify(content));
  return readPlan(folder);
}

test("a plain folder is its own configuration", () => {
  expect(readPlan(folder)).toEqual({ config: folder, page: undefined, programs: [], edge: undefined });
});

test("up.json: paths from its folder, node is the project's own", () => {
  const page = "http://127.0.0.1:8080/";
  expect(plan({ config: "mesh", page, run: [{ name: "app", command: ["node", "a.ts"] }] })).toEqual({
    config: join(folder, "mesh"),
    page,
    programs: [{ name: "app", command: [process.execPath, "a.ts"], cwd: folder }],
    edge: undefined,
  });
});

test("up.json: what --edge adds", () => {
  const worker = { name: "caller", file: "edge/caller.ts", port: 8788 };
  expect(plan({ edge: { config: "edge", site: "local", workers: [worker] } }).edge).toEqual({
    ...{ config: join(folder, "edge"), site: "local", page: undefined },
    workers: [{ ...worker, file: join(folder, "edge/caller.ts") }],
  });
});

test.each(["{", '{"confg":"."}', '{"run":[{"name":"A B","command":["x"]}]}', '{"run":[{"name":"a","command":[]}]}'])(
  "%s is refused with the file's name",
  (content) => {
    expect(() => plan(content)).toThrow(join(folder, "up.json"));
  },
);

test("a folder that is not there", () => {
  expect(() => readPlan("/nowhere")).toThrow("/nowhere: no such folder; give one with YAML files");
});

test("the usual ports for the first pool, a hundred further on for the next, all moved by the offset", () => {
  expect(upPorts(["ingress", "egress"], 0)).toEqual({
    api: 15080,
    grpc: 15012,
    pools: new Map([
      ["ingress", { admin: 15000, metrics: 15090, readiness: 15021 }],
      ["egress", { admin: 15100, metrics: 15190, readiness: 15121 }],
    ]),
  });
  expect(upPorts(["a"], 1000)).toMatchObject({ api: 16080, grpc: 16012 });
});
