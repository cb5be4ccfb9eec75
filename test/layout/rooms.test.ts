/** The import table of ARCHITECTURE.md, executed: who may know whom, and through which door. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { type SourceFile, shipped, sources } from "./sources.ts";

/** Longest prefix wins. `k8s`, `sidecar` and each folder of the control plane are rooms of their own. */
const ROOMS = [
  "gateway/core",
  "gateway/wire",
  "gateway/node",
  "gateway/edge",
  ...["config", "registry", "translate", "snapshot", "distribute", "edge", "xds", "ca", "mixer", "api", "cli", "ui"].map(
    (r) => `controlplane/${r}`,
  ),
  "controlplane",
  "sidecar",
  "k8s",
  "samples",
  "test",
];

/** Files of another room that may be imported, by the importing room. A folder ends in `/`. */
const CORE_VOCABULARY = [
  "gateway/core/http/address.ts",
  "gateway/core/http/authority.ts",
  "gateway/core/http/message.ts",
  "gateway/core/error.ts",
  "gateway/core/result.ts",
  "gateway/core/bytes.ts",
];
const CORE_CONTRACT = [
  "gateway/core/ir/index.ts",
  "gateway/core/identity/index.ts",
  "gateway/core/result.ts",
  "gateway/core/error.ts",
];
const WIRE_DOORS = ["gateway/wire/index.ts", "gateway/wire/proto/index.ts"];
const CONTROL_PLANE_DOORS = [
  ...["config", "registry", "translate", "snapshot", "distribute", "edge", "api"].map((room) => `controlplane/${room}/index.ts`),
  "controlplane/config/resource.ts",
  "controlplane/layout.ts",
  "controlplane/secrets.ts",
  "controlplane/offline.ts",
  "controlplane/disk-files.ts",
];
const ALLOWED: Record<string, readonly string[]> = {
  "gateway/core": [],
  "gateway/wire": CORE_VOCABULARY,
  "gateway/node": ["gateway/core/index.ts", ...CORE_CONTRACT, ...CORE_VOCABULARY, ...WIRE_DOORS],
  "gateway/edge": ["gateway/core/index.ts", ...CORE_CONTRACT, ...CORE_VOCABULARY],
  controlplane: [...CONTROL_PLANE_DOORS, ...CORE_CONTRACT, ...WIRE_DOORS],
  // `tidegate explain` answers with the gateway's own code.
  "controlplane/cli": [...CONTROL_PLANE_DOORS, ...CORE_CONTRACT, "gateway/core/index.ts"],
  sidecar: ["gateway/node/index.ts"],
  k8s: [...CONTROL_PLANE_DOORS],
  samples: [],
};

function roomOf(path: string): string {
  return ROOMS.find((room) => path.startsWith(`${room}/`)) ?? path;
}

function allowedFor(room: string): readonly string[] {
  return ALLOWED[room] ?? ALLOWED[room.split("/")[0] ?? ""] ?? [];
}

test("every import that leaves its room goes through an allowed door", () => {
  const wrong = shipped()
    .filter((file) => !file.path.endsWith("/main.ts"))
    .flatMap((file) => {
      const room = roomOf(file.path);
      return file.imports
        .filter((i) => i.relative && roomOf(i.target) !== room && !allowedFor(room).includes(i.target))
        .map((i) => `${file.path}:${i.line} imports ${i.target}`);
    });
  expect(wrong).toEqual([]);
});

test("nothing imports a main.ts or a test", () => {
  const wrong = sources().flatMap((file) =>
    file.imports
      .filter((i) => i.relative && (i.target.endsWith("/main.ts") || (!file.test && /(^test\/|\.test\.ts$)/.test(i.target))))
      .map((i) => `${file.path}:${i.line} imports ${i.target}`),
  );
  expect(wrong).toEqual([]);
});

test("every relative import names a file that exists", () => {
  const wrong = sources().flatMap((file) =>
    file.imports.filter((i) => i.relative && !existsSync(i.target)).map((i) => `${file.path}:${i.line} imports ${i.target}`),
  );
  expect(wrong).toEqual([]);
});

test("no import cycle at run time", () => {
  const files = new Map(shipped().map((file) => [file.path, file]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: SourceFile, trail: readonly string[]): void => {
    const at = trail.indexOf(file.path);
    if (at !== -1) {
      cycles.push([...trail.slice(at), file.path].join(" → "));
      return;
    }
    if (done.has(file.path)) return;
    for (const { target, relative, typeOnly } of file.imports) {
      const next = files.get(target);
      if (relative && !typeOnly && next !== undefined) visit(next, [...trail, file.path]);
    }
    done.add(file.path);
  };
  for (const file of files.values()) visit(file, []);
  expect(cycles).toEqual([]);
});

test("core and wire name no runtime: no clock, no dice, no node: module", () => {
  const wrong = shipped()
    .filter((file) => /^gateway\/(core|wire)\//.test(file.path))
    .flatMap((file) => [
      ...file.imports.filter((i) => i.target.startsWith("node:")).map((i) => `${file.path}:${i.line} imports ${i.target}`),
      ...[
        ...withoutComments(file.text).matchAll(
          /\b(Date\.now|Math\.random|performance\.|new Date\(\)|setTimeout|setInterval|process\.)/g,
        ),
      ].map((m) => `${file.path} uses ${m[0]}`),
    ]);
  expect(wrong).toEqual([]);
});

test("each door starts with the room's doc comment", () => {
  const wrong = shipped().filter((file) => file.path.endsWith("/index.ts") && !file.text.startsWith("/**"));
  expect(wrong.map((file) => file.path)).toEqual([]);
});

test("gateways do not know the control plane, and only k8s knows Kubernetes", () => {
  const wrong = shipped().flatMap((file) =>
    file.imports
      .filter(
        (i) =>
          (file.path.startsWith("gateway/") && i.target.startsWith("controlplane/")) ||
          (!file.path.startsWith("k8s/") && i.target.startsWith("@kubernetes/")),
      )
      .map((i) => `${file.path}:${i.line} imports ${i.target}`),
  );
  expect(wrong).toEqual([]);
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
}
