import { expect, test } from "vitest";
import { DEFAULT_MESH_CONFIG } from "./config/index.ts";
import { mergeDocuments } from "./offline-set.ts";
import { agesOf, meshOf, runPipeline } from "./pipeline.ts";
import { canonicalJson } from "./snapshot/index.ts";

const files = { read: () => ({ ok: true, text: "" }) as const };
const object = (kind: string, name: string, spec: string) =>
  `apiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: { name: ${name}, namespace: shop }\nspec: ${spec}\n`;

const OBJECTS = [
  object(
    "Gateway",
    "front",
    '{ selector: { istio: ingressgateway }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }] }',
  ),
  object(
    "ServiceEntry",
    "origin",
    "{ hosts: [o.shop.local], resolution: STATIC, ports: [{ number: 80, name: http, protocol: HTTP }], endpoints: [{ address: 127.0.0.1 }] }",
  ),
  object(
    "VirtualService",
    "b",
    '{ hosts: ["b.example"], gateways: [front], http: [{ route: [{ destination: { host: o.shop.local } }] }] }',
  ),
  object(
    "VirtualService",
    "a",
    '{ hosts: ["a.example"], gateways: [front], http: [{ route: [{ destination: { host: nowhere.local } }] }] }',
  ),
];

const run = (documents: readonly string[]) =>
  runPipeline(
    mergeDocuments(
      documents.map((text, i) => ({ file: `${i}.yaml`, text })),
      { nowMs: 0, files },
    ),
    [],
  );

test("the order in which objects come changes neither snapshots nor problems", () => {
  const problems = (output: ReturnType<typeof run>) => output.problems.map(({ path, message }) => `${path}: ${message}`).sort();
  const one = run(OBJECTS);
  const other = run(OBJECTS.toReversed());
  expect(other.pools.map(({ snapshot }) => canonicalJson(snapshot))).toEqual(
    one.pools.map(({ snapshot }) => canonicalJson(snapshot)),
  );
  expect(problems(other)).toEqual(problems(one));
});

test("a mesh without MeshConfig has the default pools and ages", () => {
  const output = run(OBJECTS);
  expect(output.mesh).toBe(DEFAULT_MESH_CONFIG);
  expect(output.pools.map(({ pool }) => pool.name)).toEqual(["ingress", "egress"]);
  expect(agesOf(meshOf([]))).toEqual({
    routes: { softS: 3600, hardS: 30 * 86_400, failMode: "keep" },
    egress: { softS: 3600, hardS: 86_400, failMode: "closed" },
    quota: { softS: 3600, hardS: 30 * 86_400, failMode: "keep" },
  });
});

test("what several pools find is told once, with where it is written", () => {
  const { problems } = run(OBJECTS);
  const missing = problems.filter(({ message }) => message.includes("nowhere.local"));
  expect(missing.length).toBe(1);
  expect(missing[0]).toMatchObject({ ref: { kind: "VirtualService", namespace: "shop", name: "a" }, source: { file: "3.yaml" } });
});

test("objects are programmed in the pools that have a part of them", () => {
  const [ingress, egress] = run(OBJECTS).pools;
  expect(ingress?.programmed.map(({ name }) => name)).toContain("front");
  expect(egress?.programmed.map(({ name }) => name)).not.toContain("front");
});

test("an object that is written twice is in force once, and both places say so", () => {
  const set = mergeDocuments(
    [0, 1].map((i) => ({ file: `${i}.yaml`, text: OBJECTS[1] ?? "" })),
    { nowMs: 0, files },
  );
  expect(set.resources.length).toBe(1);
  expect(set.problems.map(({ severity, source }) => `${severity} ${source.file}`)).toEqual([
    "conflict 0.yaml",
    "conflict 1.yaml",
  ]);
});
