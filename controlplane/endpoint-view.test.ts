import { expect, test } from "vitest";
import { makeSnapshot } from "../test/support/snapshots.ts";
import type { GatewayStatus, ReportedEndpoint } from "./distribute/index.ts";
import { endpointViews } from "./endpoint-view.ts";

const [cluster] = makeSnapshot(1).clusters;
const name = cluster!.name;
const snapshot = {
  clusters: [{ ...cluster!, host: "reviews.shop", port: 9080, discovery: "dns" as const }],
  endpoints: [
    {
      cluster: name,
      endpoints: [
        { address: "10.0.0.1", port: 80, weight: 1, locality: "eu/a" },
        { address: "a.test", port: 80, weight: 2 },
      ],
    },
  ],
};
const reported = (address: string, more: Partial<ReportedEndpoint> = {}): ReportedEndpoint => ({
  cluster: name,
  address,
  port: 80,
  hostname: undefined,
  locality: undefined,
  weight: 1,
  state: "healthy",
  reason: undefined,
  sinceMs: 5,
  ...more,
});
const gateway = (id: string, endpoints: readonly ReportedEndpoint[], connected = true): GatewayStatus => ({
  id,
  pool: "ingress",
  connected,
  state: { kind: "idle", held: undefined, sinceMs: 0 },
  lastSeenMs: 0,
  software: "",
  endpoints,
});
const shown = (gateways: readonly GatewayStatus[], filter = {}) =>
  endpointViews("ingress", snapshot, gateways, filter).map(
    ({ gateway: id, address, state, hostname }) => `${id} ${address} ${state}${hostname === undefined ? "" : ` ${hostname}`}`,
  );

test("each connected gateway's own view; what it does not watch is as configured", () => {
  const one = gateway("gw-1", [reported("10.0.0.1", { state: "ejected" }), reported("10.7.0.1", { hostname: "a.test" })]);
  expect(shown([one, gateway("gw-2", []), gateway("gw-3", [], false)])).toEqual([
    "gw-1 10.0.0.1 ejected",
    "gw-1 10.7.0.1 healthy a.test",
    "gw-2 10.0.0.1 healthy",
    "gw-2 a.test healthy",
  ]);
});

test("without a gateway nobody knows", () => {
  expect(shown([gateway("gw-1", [], false)])).toEqual(["undefined 10.0.0.1 unknown", "undefined a.test unknown"]);
});

test.each([
  [{ service: "reviews" }, 2],
  [{ service: "reviews.shop" }, 2],
  [{ service: "review" }, 0],
  [{ pool: "egress" }, 0],
  [{ gateway: "gw-1" }, 2],
  [{ gateway: "gw-9" }, 0],
])("filter %j", (filter, count) => {
  expect(shown([gateway("gw-1", [])], filter)).toHaveLength(count);
});
