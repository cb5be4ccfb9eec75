import { describe, expect, test } from "vitest";
import { type ResourceOf, validateText } from "../config/index.ts";
import { DestinationRules, effectivePolicy } from "./destination-rules.ts";
import { groupObjects } from "./objects.ts";
import { Status } from "./status.ts";

const POOL = { name: "p", namespace: "edge", labels: {}, role: "ingress", bind: "127.0.0.1", ports: {} } as const;

function rules(...specs: readonly [namespace: string, spec: object][]): DestinationRules {
  const text = specs.map(([namespace, spec], index) =>
    JSON.stringify({
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata: { name: `r${index}`, namespace },
      spec,
    }),
  );
  const objects = validateText(text.join("\n---\n"), "test", { nowMs: 0 }).objects.flatMap(({ resource }) => resource ?? []);
  const found: readonly ResourceOf<"DestinationRule">[] = groupObjects(objects).destinationRules;
  return new DestinationRules(found, POOL, "root", new Status());
}

const balanced = (simple: string, host = "s.example.com") => ({ host, trafficPolicy: { loadBalancer: { simple } } });
const find = (set: DestinationRules) =>
  effectivePolicy(set.find("s.example.com", "shop"), undefined, 80).loadBalancer?.value.simple;

describe("lookup", () => {
  test("client's namespace, then the service's, then the root's", () => {
    const client = ["edge", balanced("RANDOM")] as [string, object];
    const service = ["shop", balanced("ROUND_ROBIN")] as [string, object];
    const root = ["root", balanced("LEAST_REQUEST")] as [string, object];
    expect(find(rules(root, service, client))).toBe("RANDOM");
    expect(find(rules(root, service))).toBe("ROUND_ROBIN");
    expect(find(rules(root))).toBe("LEAST_REQUEST");
    expect(find(rules(["other", balanced("RANDOM")]))).toBeUndefined();
  });

  test("a wildcard in an earlier namespace beats the exact host of a later one", () => {
    expect(find(rules(["shop", balanced("ROUND_ROBIN")], ["edge", balanced("RANDOM", "*.example.com")]))).toBe("RANDOM");
  });

  test("the most specific host of a namespace, and nothing of the others", () => {
    const set = rules(
      ["shop", { host: "*.example.com", trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } }],
      ["shop", balanced("RANDOM")],
    );
    const policy = effectivePolicy(set.find("s.example.com", "shop"), undefined, 80);
    expect(Object.keys(policy)).toEqual(["loadBalancer"]);
  });

  test("a rule that is not exported to the gateways does not count", () => {
    expect(find(rules(["shop", { ...balanced("RANDOM"), exportTo: ["."] }]))).toBeUndefined();
  });
});

describe("the policy of a port and subset", () => {
  const set = rules([
    "shop",
    {
      host: "s.example.com",
      trafficPolicy: {
        loadBalancer: { simple: "RANDOM" },
        tls: { mode: "SIMPLE" },
        retryBudget: { percent: 30 },
        portLevelSettings: [{ port: { number: 81 }, connectionPool: { tcp: { maxConnections: 2 } } }],
      },
      subsets: [
        { name: "plain", labels: {} },
        { name: "own", labels: {}, trafficPolicy: { loadBalancer: { simple: "ROUND_ROBIN" } } },
        {
          name: "ported",
          labels: {},
          trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: "LEAST_REQUEST" } }] },
        },
      ],
    },
  ]);
  const blocks = (subset: string | undefined, port: number) => {
    const policy = effectivePolicy(set.find("s.example.com", "shop"), subset, port);
    return { names: Object.keys(policy).sort(), simple: policy.loadBalancer?.value.simple };
  };

  test.each([
    [undefined, 80, ["loadBalancer", "retryBudget", "tls"], "RANDOM"],
    [undefined, 81, ["connectionPool", "retryBudget"], undefined],
    ["plain", 80, ["loadBalancer", "retryBudget", "tls"], "RANDOM"],
    ["own", 80, ["loadBalancer", "retryBudget", "tls"], "ROUND_ROBIN"],
    ["own", 81, ["connectionPool", "loadBalancer", "retryBudget"], "ROUND_ROBIN"],
    ["ported", 80, ["loadBalancer", "retryBudget"], "LEAST_REQUEST"],
  ])("subset %s, port %d: %j", (subset, port, names, simple) => {
    expect(blocks(subset, port)).toEqual({ names, simple });
  });
});
