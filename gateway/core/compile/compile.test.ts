import { describe, expect, it } from "vitest";
import {
  exact,
  forward,
  NO_RETRY,
  only,
  prefix,
  regex,
  route,
  routes,
  snapshot,
  virtualHost,
} from "../../../test/conformance/build.ts";
import type { HeaderOps, QuotaPolicy, Snapshot } from "../ir/index.ts";
import { compile } from "./compile.ts";
import { candidatesOf } from "./route-index.ts";
import { MAX_REGEX_CHARS } from "./string.ts";
import type { Tables } from "./tables.ts";

function issuesOf(source: Snapshot): string[] {
  const result = compile(source, "1.1", undefined);
  return result.ok ? [] : result.error.map((issue) => `${issue.path}: ${issue.problem}`);
}

function tablesOf(source: Snapshot, previous?: Tables): Tables {
  const result = compile(source, "1.1", previous);
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

const base = routes(route("r"));
const path = (more: string) => `routeTables[0].virtualHosts[0].routes[0](r)${more}`;

describe("issues", () => {
  it("are all told at once, each with its place", () => {
    const bad = snapshot([
      virtualHost(["a.test", "a.test"], [route("x", [{ path: regex("(") }]), route("x", [], { quotas: ["none"] })]),
    ]);
    expect(issuesOf({ ...bad, routeTables: [...bad.routeTables, { name: "main", virtualHosts: [], quotas: [] }] })).toEqual([
      expect.stringMatching(
        /^routeTables\[0\]\.virtualHosts\[0\]\.routes\[0\]\(x\)\.matches\[0\]\.path: "\(" is not a regex in RE2 syntax/,
      ),
      expect.stringContaining("routes[1](x).quotas[0]: there is no quota none"),
      expect.stringContaining("a second route x"),
      expect.stringContaining("domains[1]: a.test is taken already"),
      expect.stringContaining("routeTables[1].name: a second route table main"),
    ]);
  });

  it.each<[string, Snapshot, string]>([
    ["an unknown route table", { ...base, routeTables: [] }, "listeners[0].servers[0].routeTable: there is no route table main"],
    ["a listener twice", { ...base, listeners: [...base.listeners, ...base.listeners] }, "a second listener 127.0.0.1:8080"],
    [
      "an http listener of two servers",
      {
        ...base,
        listeners: base.listeners.map((listener) => ({ ...listener, servers: [...listener.servers, ...listener.servers] })),
      },
      "exactly one server",
    ],
    ["a cluster twice", { ...base, clusters: [...base.clusters, ...base.clusters] }, "a second cluster a"],
    ["endpoints twice", { ...base, endpoints: [...base.endpoints, ...base.endpoints] }, "a second list for a"],
    [
      "no destination",
      only({ action: forward("a", { destinations: [] }) }),
      `${path(".action.destinations")}: no destination has a weight`,
    ],
    [
      "a look-behind",
      routes(route("r", [{ headers: [{ name: "x", match: regex("(?<=a)b") }] }])),
      `${path(".matches[0].headers[0].match")}: "(?<=a)b" is not a regex`,
    ],
    [
      "a back-reference",
      only({ action: forward("a", { rewrite: { pathRegex: { match: "(a)\\1", substitution: "" } } }) }),
      `${path(".action.rewrite.pathRegex.match")}: `,
    ],
    [
      "a long regex",
      routes(route("r", [{ path: regex("a".repeat(MAX_REGEX_CHARS + 1)) }])),
      `${path(".matches[0].path")}: regex has 1025 characters; at most 1024 are allowed`,
    ],
    ["a wildcard inside", snapshot([virtualHost(["a.*.test"], [])]), "a wildcard elsewhere"],
    ["an upper-case host", snapshot([virtualHost(["A.test"], [])]), "upper-case"],
    [
      "two catch-alls",
      snapshot([virtualHost(["*"], []), virtualHost(["*"], [])]),
      "virtualHosts[1].domains[0]: * is taken already",
    ],
    ["a quota of the table", snapshot([], { tableQuotas: ["q"] }), "routeTables[0].quotas[0]: there is no quota q"],
    [
      "a line break in a rewrite",
      only({ action: forward("a", { rewrite: { path: "/a HTTP/1.1\r\nx: y" } }) }),
      `${path(".action.rewrite.path")}: `,
    ],
    [
      "a space in a substitution",
      only({ action: forward("a", { rewrite: { pathRegex: { match: "a", substitution: " " } } }) }),
      `${path(".action.rewrite.pathRegex.substitution")}: `,
    ],
    [
      "a line break in an authority",
      only({ action: forward("a", { rewrite: { authority: "a\r\nb" } }) }),
      `${path(".action.rewrite.authority")}: `,
    ],
    [
      "an authority with a user",
      only({ action: forward("a", { destinations: [{ cluster: "a", weight: 1, authority: "u@a" }] }) }),
      "destinations[0].authority",
    ],
    [
      "a path in a redirect's authority",
      only({ action: { kind: "redirect", status: 301, authority: "a/b" } }),
      `${path(".action.authority")}: `,
    ],
    ["a space in a redirect", only({ action: { kind: "redirect", status: 301, path: "/a b" } }), `${path(".action.path")}: `],
    [
      "an informational direct response",
      only({ action: { kind: "direct", status: 101 } }),
      `${path(".action.status")}: 101 is no status`,
    ],
    [
      "an abort with a status that is none",
      only({ fault: { abort: { status: 600, percent: 1 } } }),
      `${path(".fault.abort.status")}: 600 is no status`,
    ],
    ["base64 that is none", only({ action: { kind: "direct", status: 200, body: { base64: "?" } } }), "not base64"],
    ["a body where none can be", only({ action: { kind: "direct", status: 204, body: { text: "x" } } }), "has no body"],
  ])("%s", (_, source, problem) => {
    expect(issuesOf(source).join("\n")).toContain(problem);
  });

  it.each<[string, HeaderOps]>([
    ["upper case", { remove: ["X-A"] }],
    ["no token", { set: [["a b", "1"]] }],
    ["a line break in a value", { add: [["a", "1\r\nb: 2"]] }],
    ["NUL in a value", { add: [["a", "\0"]] }],
    ["white space around a value", { set: [["a", " 1"]] }],
    ["framing", { set: [["content-length", "1"]] }],
    ["transfer-encoding", { remove: ["transfer-encoding"] }],
    ["the authority's own field", { set: [["host", "a"]] }],
    ["connection", { add: [["connection", "close"]] }],
  ])("header operations: %s", (_, ops) => {
    expect(issuesOf(only({ requestHeaders: ops }))).toHaveLength(1);
    expect(issuesOf(only({ responseHeaders: ops }))).toHaveLength(1);
    const destinations = [{ cluster: "a", weight: 1, requestHeaders: ops }];
    expect(issuesOf(only({ action: forward("a", { destinations }) }))[0]).toContain("destinations[0].requestHeaders");
  });

  it("what several routes share is told at each of them", () => {
    const headers = [{ name: "x-a", match: regex("(") }];
    const method = regex("[");
    const found = issuesOf(routes(route("a", [{ headers, method }]), route("b", [{ headers, method }])));
    expect(found.map((issue) => issue.slice(0, issue.indexOf(": ")))).toEqual(
      ["0](a)", "1](b)"].flatMap((at) =>
        ["method", "headers[0].match"].map((part) => `routeTables[0].virtualHosts[0].routes[${at}.matches[0].${part}`),
      ),
    );
  });

  it("a regex of the longest length allowed is none", () => {
    expect(issuesOf(routes(route("r", [{ path: regex("a".repeat(MAX_REGEX_CHARS)) }])))).toEqual([]);
  });

  it("a bad quota is named with its path", () => {
    const quota: QuotaPolicy = {
      id: "demo/q",
      origin: { kind: "Quota", namespace: "demo", name: "q" },
      matches: [{ path: regex("[") }],
      key: [],
      limits: [{ name: "all", amount: -1, perMs: 1000, window: "rolling" }],
      cost: { kind: "fixed", amount: 1 },
      unit: "requests",
      overrides: [],
      whenKeyMissing: "share",
      scope: "local",
      onStoreFailure: { kind: "allow" },
      mode: "enforce",
      headers: "none",
      response: { status: 429 },
    };
    const found = issuesOf(snapshot([], { quotas: [quota, quota] })).join("\n");
    expect(found).toContain("quotas[0](demo/q).matches[0].path");
    expect(found).toContain("quotas[0](demo/q).limits[0].amount");
    expect(found).toContain("a second quota demo/q");
  });
});

describe("over the tables before", () => {
  it("endpoints keep their counts and the runtime's pools, by key", () => {
    const before = tablesOf(base);
    const kept = before.clusters.get("pair")!.endpoints[0]!;
    kept.active = 3;
    kept.runtime = { pool: true };
    const moved = structuredClone(base);
    const endpoints = moved.endpoints.map((entry) =>
      entry.cluster === "pair"
        ? {
            ...entry,
            endpoints: [
              { address: "10.9.9.9", port: 80, weight: 1 },
              { ...entry.endpoints[0]!, weight: 7 },
            ],
          }
        : entry,
    );
    const after = tablesOf({ ...moved, endpoints }, before);
    const cluster = after.clusters.get("pair")!;
    expect(cluster.endpoints[1]).toBe(kept);
    expect(cluster.endpoints[0]).toMatchObject({ address: "10.9.9.9", active: 0, runtime: undefined });
    expect(cluster.state).toBe(before.clusters.get("pair")!.state);
    // The table before still weighs as it did.
    expect(before.clusters.get("pair")!.endpoints).toHaveLength(2);
  });

  it("a trial that fails has changed nothing", () => {
    const before = tablesOf(base);
    const state = { ...before.clusters.get("a")!.state };
    expect(compile(routes(route("r", [{ path: regex("(") }])), "1.2", before).ok).toBe(false);
    expect(before.clusters.get("a")!.state).toEqual(state);
  });

  it("regexes are taken over while they are used, and not longer", () => {
    const source = routes(route("r", [{ path: regex("/a.*") }]));
    const regexIn = (tables: Tables) =>
      tables.routeTables.get("main")!.hosts.any!.index.children!.get(47)!.first!.match!.path!.regex;
    const first = tablesOf(source);
    const second = tablesOf(structuredClone(source), first);
    expect(regexIn(second)).toBe(regexIn(first));
    const third = tablesOf(structuredClone(source), tablesOf(base, second));
    expect(regexIn(third)).not.toBe(regexIn(first));
  });

  it("a cluster that is decoded once is compiled once", () => {
    const before = tablesOf(base);
    expect(tablesOf({ ...base }, before).clusters.get("a")).toBe(before.clusters.get("a"));
  });
});

it("5,000 routes over 500 hosts compile, and every one is found", () => {
  const action = forward("a", { retry: { ...NO_RETRY, attempts: 2, on: ["5xx"] } });
  const hosts = Array.from({ length: 500 }, (_, h) =>
    virtualHost(
      [`h${h}.test`],
      Array.from({ length: 10 }, (__, i) => route(`${h}/${i}`, [{ path: prefix(`/${i}/`), method: exact("GET") }], { action })),
    ),
  );
  const { hosts: table } = tablesOf(snapshot(hosts)).routeTables.get("main")!;
  expect([...table.exact.values()].reduce((sum, host) => sum + host.routes.length, 0)).toBe(5000);
});

it("what several routes share is compiled once", () => {
  const headers = [{ name: "x-a", match: exact("1") }];
  const method = exact("GET");
  const retry = { ...NO_RETRY, attempts: 2 };
  const sharing = (id: string, action = forward("a", { retry })) => {
    const requestHeaders = { set: [["x-b", id]] as const };
    return route(id, [{ headers, method }], { action, requestHeaders });
  };
  const { index } = tablesOf(routes(sharing("a"), sharing("b"))).routeTables.get("main")!.hosts.any!;
  const [a, b] = candidatesOf(index).map(({ match, route: { action, requestEdit } }) => {
    if (action.kind !== "forward") throw new Error("routes forward here");
    return { headers: match!.headers, method: match!.method, retry: action.retry, edit: requestEdit! };
  });
  expect(b!.headers).toBe(a!.headers);
  expect(b!.method).toBe(a!.method);
  expect(b!.retry).toBe(a!.retry);
  expect(b!.edit.drop).toBe(a!.edit.drop);
  expect([a!.edit.append, b!.edit.append]).toEqual([
    ["x-b", "a"],
    ["x-b", "b"],
  ]);

  const action = forward("a", { retry });
  const same = tablesOf(routes(sharing("a", action), sharing("b", action))).routeTables.get("main")!.hosts.any!;
  expect(same.routes[1]!.action).toBe(same.routes[0]!.action);
});

it("the operations of a destination are joined with those of each route that goes to it", () => {
  const [destination] = forward("a").destinations;
  const action = forward("a", { destinations: [{ ...destination!, requestHeaders: { add: [["x-to", "a"]] } }] });
  const set = (id: string) => route(id, [], { action, requestHeaders: { add: [["x-route", id]] } });
  const { routes: compiled } = tablesOf(routes(set("1"), set("2"))).routeTables.get("main")!.hosts.any!;
  const sent = compiled.map((item) => (item.action.kind === "forward" ? item.action.destinations[0]!.requestEdit?.append : []));
  expect(sent).toEqual([
    ["x-to", "a", "x-route", "1"],
    ["x-to", "a", "x-route", "2"],
  ]);
});

it("a field that is set twice has the later value, and what is added comes after it", () => {
  const requestHeaders: HeaderOps = {
    set: [
      ["a", "1"],
      ["b", "2"],
      ["a", "3"],
    ],
    add: [["a", "4"]],
    remove: ["c"],
  };
  const { index } = tablesOf(routes(route("r", [], { requestHeaders }))).routeTables.get("main")!.hosts.any!;
  const edit = index.first!.route.requestEdit;
  expect(edit?.append).toEqual(["a", "3", "b", "2", "a", "4"]);
  expect([...edit!.drop].sort()).toEqual(["a", "b", "c"]);
});
