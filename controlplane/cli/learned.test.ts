import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { validateText } from "../config/index.ts";
import { LearnedPolicies, MAX_LEARNED_PATHS } from "./learned.ts";

const line = (learned: object, caller: object = { client: "10.9.0.4" }) =>
  JSON.stringify({ log: "egress", verdict: "learn", ...caller, learned });

function proposed(...lines: string[]) {
  const policies = new LearnedPolicies("shop");
  for (const one of lines) policies.add(one);
  const yaml = policies.toYaml();
  const { objects } = validateText(yaml, "proposed.yaml", { nowMs: 0 });
  const problems = objects.flatMap((object) => object.problems.filter(({ severity }) => severity === "error"));
  expect(problems).toEqual([]);
  return { decisions: policies.decisions, objects: parseAllDocuments(yaml).map((document) => document.toJS()) };
}

test("one policy for each caller, one rule for each host and protocol, with what was seen", () => {
  const http = { host: "intranet.example.com", port: 8080, protocol: "http" };
  const { decisions, objects } = proposed(
    line({ ...http, method: "GET", path: "/b" }),
    line({ ...http, method: "PUT", path: "/a" }),
    line({ ...http, method: "GET", path: "/b" }),
    line({ host: "api.example.com", port: 443, protocol: "https", method: "GET", path: "/v1/x" }, { service: "checkout" }),
    line({ host: "api.example.com", port: 443, protocol: "tunnel" }, { user: "Batch 1", client: "10.9.0.4" }),
    line({ host: "api.example.com", port: 5432, protocol: "tunnel" }, { user: "Batch 1" }),
    line({ host: "[2606:4700::1111]", port: 443, protocol: "tunnel" }, { client: "2001:db8::1" }),
  );
  expect(decisions).toBe(7);
  expect(objects.map(({ metadata, spec }) => [metadata.name, metadata.namespace, spec.from, spec.allow])).toEqual([
    [
      "learned-10-9-0-4",
      "shop",
      [{ ipBlock: "10.9.0.4/32" }],
      [
        {
          name: "intranet-example-com",
          hosts: ["intranet.example.com"],
          ports: [8080],
          protocol: "http",
          methods: ["GET", "PUT"],
          paths: ["/a", "/b"],
        },
      ],
    ],
    [
      "learned-2001-db8-1",
      "shop",
      [{ ipBlock: "2001:db8::1/128" }],
      [{ name: "2606-4700-1111", hosts: ["[2606:4700::1111]"], ports: [443], protocol: "https" }],
    ],
    [
      "learned-batch-1",
      "shop",
      [{ proxyUser: "Batch 1" }],
      [
        { name: "api-example-com", hosts: ["api.example.com"], ports: [443], protocol: "https" },
        { name: "api-example-com-2", hosts: ["api.example.com"], ports: [5432], protocol: "tcp" },
      ],
    ],
    [
      "learned-checkout",
      "shop",
      [{ edgeService: "checkout" }],
      [
        {
          name: "api-example-com",
          hosts: ["api.example.com"],
          ports: [443],
          protocol: "https",
          methods: ["GET"],
          paths: ["/v1/x"],
          originate: { tls: "SIMPLE" },
        },
      ],
    ],
  ]);
});

test("the order of the log leaves no trace", () => {
  const lines = ["b", "a", "c"].map((name) =>
    line({ host: `${name}.example.com`, port: 443, protocol: "tunnel" }, { user: name }),
  );
  expect(proposed(...lines)).toEqual(proposed(...lines.reverse()));
});

test("many paths become the folder that holds them; what cannot be judged is not listed", () => {
  const http = { host: "a.example.com", port: 80, protocol: "http", method: "GET" };
  const many = (prefix: string) =>
    Array.from({ length: MAX_LEARNED_PATHS + 1 }, (_, i) => line({ ...http, path: `${prefix}${i}` }));
  const pathsOf = (lines: string[]) => proposed(...lines).objects[0].spec.allow[0].paths;
  expect(pathsOf(many("/v1/item-"))).toEqual(["/v1/*"]);
  expect(pathsOf(many("/v1/item/"))).toEqual(["/v1/item/*"]);
  expect(pathsOf(many("/item-"))).toBeUndefined();
  expect(pathsOf([line({ ...http, path: "/a/../b" }), line({ ...http, path: "/c" })])).toBeUndefined();
  expect(pathsOf([line({ ...http, path: "/a*" })])).toBeUndefined();
});

test("other lines, and lines that somebody broke, are passed over", () => {
  const { decisions, objects } = proposed(
    "",
    'not JSON with "learned"',
    '"learned"',
    JSON.stringify({ log: "egress", verdict: "allow" }),
    JSON.stringify({
      log: "egress",
      verdict: "learn",
      client: "10.0.0.1",
      learned: { host: "a.example.com", port: "443", protocol: "http" },
    }),
    JSON.stringify({
      log: "egress",
      verdict: "learn",
      client: "10.0.0.1",
      learned: { host: "a.example.com", port: 443, protocol: "gopher" },
    }),
    line({ host: "a.example.com", port: 443, protocol: "tunnel" }, {}),
  );
  expect([decisions, objects.length]).toEqual([0, 0]);
});
