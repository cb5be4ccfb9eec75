import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RequestRecord } from "../ports.ts";
import { accessLogLine } from "./access-log.ts";
import { RESPONSE_FLAGS } from "./flags.ts";
import { REQUEST_LABELS, REQUEST_METRICS, requestLabels } from "./metrics.ts";

const record: RequestRecord = {
  snapshotVersion: "1.7",
  listener: "0.0.0.0:8080",
  method: "GET",
  authority: "shop.example.com",
  target: "/a?b=1",
  scheme: "http",
  protocol: "HTTP/1.1",
  peer: { address: "192.0.2.1", port: 40_000 },
  fields: ["x-request-id", "id-1", "user-agent", "curl/8", "user-agent", "second"],
  routeId: "demo/shop/0",
  clusterName: "outbound|80|v2|reviews.demo.svc.cluster.local",
  endpoint: "10.0.0.1:80",
  status: 200,
  flags: "-",
  rule: undefined,
  reason: undefined,
  attempts: 1,
  startedMs: 5,
  requestBytes: 0,
  responseBytes: 1024,
  durationMs: 1.23456,
  upstreamMs: 0.5,
};
const parsed = (more: Partial<RequestRecord>, unixMs = 0) =>
  JSON.parse(accessLogLine({ ...record, ...more }, unixMs)) as Record<string, unknown>;

describe("access log", () => {
  it("is one line of JSON with these fields", () => {
    expect(accessLogLine(record, Date.UTC(2026, 0, 2, 3, 4, 5, 6))).toBe(
      '{"time":"2026-01-02T03:04:05.006Z","method":"GET","scheme":"http","authority":"shop.example.com","path":"/a?b=1","protocol":"HTTP/1.1"' +
        ',"status":200,"flags":"-","duration_ms":1.235,"upstream_ms":0.5,"request_bytes":0,"response_bytes":1024,"attempts":1' +
        ',"peer":"192.0.2.1:40000","principal":null,"sni":null,"tls_version":null,"listener":"0.0.0.0:8080","route":"demo/shop/0"' +
        ',"cluster":"outbound|80|v2|reviews.demo.svc.cluster.local","endpoint":"10.0.0.1:80","rule":null,"reason":null,"snapshot":"1.7","site":null,"passport":null,"client":null' +
        ',"request_id":"id-1","user_agent":"curl/8","forwarded_for":null,"referer":null,"grpc_status":null}\n',
    );
  });

  it("stays one line and one object whatever a client sends", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (target, agent) => {
        const line = accessLogLine({ ...record, target, fields: ["user-agent", agent] }, 0);
        expect(line.indexOf("\n")).toBe(line.length - 1);
        expect(JSON.parse(line)).toMatchObject({ path: target, user_agent: agent, status: 200 });
      }),
    );
  });

  it.each(['"', "\\", "\n", "\u0000", "\u007f", "é", "\u2028", "\ud800"])("escapes %j", (character) => {
    expect(parsed({ reason: character })).toMatchObject({ reason: character });
  });

  it("tells how a gRPC call ended", () => {
    expect(parsed({ grpcStatus: 14 })).toMatchObject({ status: 200, grpc_status: 14 });
  });

  it("writes IPv6 peers in brackets", () => {
    expect(parsed({ peer: { address: "2001:db8::1", port: 7 } })).toMatchObject({ peer: "[2001:db8::1]:7" });
  });

  it("forgets one request's fields before the next", () => {
    expect(parsed({ fields: [] })).toMatchObject({ request_id: null, user_agent: null });
  });

  it("tells time to the millisecond over a second's edge", () => {
    expect([999, 1000, 1001.9, 59].map((ms) => parsed({}, ms)["time"])).toEqual([
      "1970-01-01T00:00:00.999Z",
      "1970-01-01T00:00:01.000Z",
      "1970-01-01T00:00:01.001Z",
      "1970-01-01T00:00:00.059Z",
    ]);
  });
});

describe("metrics", () => {
  it("are well named, with buckets that rise", () => {
    for (const { name, kind, buckets } of REQUEST_METRICS) {
      expect(name).toMatch(/^[a-z_]+$/);
      expect(buckets !== undefined).toBe(kind === "histogram");
      expect(buckets ?? []).toEqual([...(buckets ?? [])].sort((a, b) => a - b));
    }
  });

  it("labels of a request come in the order of their names", () => {
    const labels = requestLabels({
      ...record,
      peer: { ...record.peer, principal: "spiffe://m/ns/a/sa/b", tls: { serverName: "x", version: "TLSv1.3" } },
    });
    expect(Object.fromEntries(REQUEST_LABELS.map((name, i) => [name, labels[i]]))).toEqual({
      reporter: "source",
      source_principal: "spiffe://m/ns/a/sa/b",
      destination_service: "reviews.demo.svc.cluster.local",
      destination_service_name: "reviews",
      destination_service_namespace: "demo",
      request_protocol: "http",
      response_code: "200",
      grpc_response_status: "",
      response_flags: "-",
      connection_security_policy: "mutual_tls",
    });
    expect(requestLabels({ ...record, grpcStatus: 14 }).slice(5, 8)).toEqual(["grpc", "200", "14"]);
    expect(requestLabels({ ...record, clusterName: undefined })).toHaveLength(REQUEST_LABELS.length);
  });
});

it("flags are Envoy's short words", () => {
  for (const flag of Object.keys(RESPONSE_FLAGS)) expect(flag).toMatch(/^[A-Z]{2,4}$/);
});
