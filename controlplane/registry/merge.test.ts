import { describe, expect, test } from "vitest";
import type { AnyResource } from "../config/index.ts";
import { validateText } from "../config/index.ts";
import { buildRegistry, mergeServices, type Service } from "./index.ts";

function objects(
  ...specs: readonly { kind: string; name: string; namespace?: string; created?: string; spec: object }[]
): AnyResource[] {
  const text = specs.map(({ kind, name, namespace = "shop", created, spec }) =>
    JSON.stringify({
      apiVersion: "networking.istio.io/v1",
      kind,
      metadata: { name, namespace, ...(created === undefined ? {} : { creationTimestamp: created }) },
      spec,
    }),
  );
  return validateText(text.join("\n---\n"), "test", { nowMs: 0 }).objects.map(({ resource, problems }) => {
    if (resource === undefined) throw new Error(JSON.stringify(problems));
    return resource;
  });
}

const PORT = { number: 80, name: "http", protocol: "HTTP" };
const entry = (spec: object = {}) => ({
  hosts: ["s.example.com"],
  resolution: "STATIC",
  ports: [PORT],
  endpoints: [{ address: "10.0.0.1" }],
  ...spec,
});
const addresses = (service: Service | undefined) =>
  service?.ports.flatMap(({ endpoints }) => endpoints.map((e) => `${e.address}:${e.port}`));

describe("a service", () => {
  test("is one for each host of its entry", () => {
    const { registry } = buildRegistry(
      objects({ kind: "ServiceEntry", name: "a", spec: entry({ hosts: ["s.example.com", "t.example.com"] }) }),
    );
    expect(registry.services.map(({ host }) => host)).toEqual(["s.example.com", "t.example.com"]);
  });

  test.each([
    ["the endpoint's port of that name", { ports: { http: 1 } }, { ...PORT, targetPort: 2 }, 1],
    ["else the target port", {}, { ...PORT, targetPort: 2 }, 2],
    ["else the number", {}, PORT, 80],
  ])("is reached on %s", (_, endpoint, port, expected) => {
    const spec = entry({ ports: [port], endpoints: [{ address: "10.0.0.1", ...endpoint }] });
    const { registry } = buildRegistry(objects({ kind: "ServiceEntry", name: "a", spec }));
    expect(addresses(registry.find("s.example.com", "shop"))).toEqual([`10.0.0.1:${expected}`]);
  });

  test.each([
    ["DNS", undefined, ["s.example.com:80"], "dns"],
    ["DNS", [{ address: "eu.example.com" }], ["eu.example.com:80"], "dns"],
    ["NONE", undefined, [], "none"],
  ])("with resolution %s and endpoints %j has %j", (resolution, endpoints, expected, kind) => {
    const spec = { hosts: ["s.example.com"], resolution, ports: [PORT], ...(endpoints && { endpoints }) };
    const service = buildRegistry(objects({ kind: "ServiceEntry", name: "a", spec })).registry.find("s.example.com", "shop");
    expect(addresses(service)).toEqual(expected);
    expect(service?.resolution).toBe(kind);
  });

  test("takes WorkloadEntries of its namespace that carry all labels, and names them", () => {
    const { registry } = buildRegistry(
      objects(
        {
          kind: "ServiceEntry",
          name: "a",
          spec: {
            hosts: ["s.example.com"],
            resolution: "STATIC",
            ports: [PORT],
            workloadSelector: { labels: { app: "a", tier: "x" } },
          },
        },
        { kind: "WorkloadEntry", name: "yes", spec: { address: "10.0.0.1", labels: { app: "a", tier: "x" } } },
        { kind: "WorkloadEntry", name: "no", spec: { address: "10.0.0.2", labels: { app: "a" } } },
        {
          kind: "WorkloadEntry",
          name: "far",
          namespace: "other",
          spec: { address: "10.0.0.3", labels: { app: "a", tier: "x" } },
        },
      ),
    );
    const service = registry.find("s.example.com", "shop");
    expect(addresses(service)).toEqual(["10.0.0.1:80"]);
    expect(service?.declarations.map(({ ref }) => `${ref.kind} ${ref.name}`)).toEqual(["ServiceEntry a", "WorkloadEntry yes"]);
  });
});

describe("one host, several declarations", () => {
  const older = { kind: "ServiceEntry", name: "z", created: "2026-01-01T00:00:00Z", spec: entry() };
  const newer = {
    kind: "ServiceEntry",
    name: "a",
    created: "2026-02-01T00:00:00Z",
    spec: entry({ endpoints: [{ address: "10.0.0.2" }] }),
  };

  test("in one namespace: joined, and both are told", () => {
    const { registry, problems } = buildRegistry(objects(newer, older));
    expect(addresses(registry.find("s.example.com", "shop"))).toEqual(["10.0.0.1:80", "10.0.0.2:80"]);
    expect(problems.map(({ severity, ref }) => `${severity} ${ref?.name}`)).toEqual(["warning z", "warning a"]);
  });

  test("in two namespaces: a client's own comes first, elsewhere the older one; both are told", () => {
    const { registry, problems } = buildRegistry(objects({ ...newer, namespace: "team" }, older));
    expect(registry.find("s.example.com", "team")?.namespace).toBe("team");
    expect(registry.find("s.example.com", "elsewhere")?.namespace).toBe("shop");
    expect(problems.map(({ severity, ref }) => `${severity} ${ref?.name}`)).toEqual(["conflict z", "conflict a"]);
  });

  test("that nobody can see both of are no conflict", () => {
    const hidden = { ...newer, namespace: "team", spec: entry({ exportTo: ["."] }) };
    const { registry, problems } = buildRegistry(objects(hidden, { ...older, spec: entry({ exportTo: ["shop", "edge"] }) }));
    expect(problems).toEqual([]);
    expect(registry.find("s.example.com", "edge")?.namespace).toBe("shop");
    expect(registry.find("s.example.com", "elsewhere")).toBeUndefined();
    expect(registry.knows("s.example.com")).toBe(true);
  });

  test("`~` is exported to nobody", () => {
    const { registry } = buildRegistry(objects({ ...older, spec: entry({ exportTo: ["~"] }) }));
    expect(registry.find("s.example.com", "shop")).toBeUndefined();
  });
});

test("another source's services are merged with those of objects", () => {
  const { registry } = buildRegistry(objects({ kind: "ServiceEntry", name: "a", spec: entry() }));
  const found = registry.services;
  const renamed = found.map((service) => ({ ...service, host: "other.example.com" }));
  const merged = mergeServices([{ services: () => found }, { services: () => renamed }]);
  expect(merged.registry.services.map(({ host }) => host)).toEqual(["other.example.com", "s.example.com"]);
});
