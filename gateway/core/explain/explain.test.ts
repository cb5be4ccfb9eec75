import { describe, expect, it } from "vitest";
import { exact, forward, prefix, present, regex, route, snapshot, virtualHost } from "../../../test/conformance/build.ts";
import type { Case } from "../../../test/conformance/case.ts";
import { CASES } from "../../../test/conformance/cases/index.ts";
import { runInMemory } from "../../../test/conformance/memory.ts";
import { compile } from "../compile/compile.ts";
import { field } from "../http/message.ts";
import type { Snapshot } from "../ir/index.ts";
import { explain } from "./explain.ts";
import type { ExplainRequest, Explanation } from "./explanation.ts";

function explained(source: Snapshot, request: Partial<ExplainRequest>): Explanation {
  const compiled = compile(source, "1.7", undefined);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  return explain(compiled.value, {
    method: "GET",
    scheme: "http",
    authority: "shop.example.com",
    target: "/",
    fields: [],
    source: "192.0.2.1",
    ...request,
  });
}

const mesh = snapshot([
  virtualHost(
    ["*.example.com"],
    [
      route("post", [{ path: prefix("/reviews"), method: exact("POST") }]),
      route("jason", [{ path: prefix("/reviews"), headers: [{ name: "end-user", match: exact("jason") }] }]),
      route("debug", [{ path: exact("/status") }, { query: [{ name: "debug", match: present }] }]),
      route("regex", [{ path: regex("/v[0-9]+/.*") }]),
      route("split", [{ path: prefix("/reviews") }], {
        action: forward("a", {
          destinations: [
            { cluster: "a", weight: 3 },
            { cluster: "gone", weight: 1 },
          ],
          rewrite: { path: "/api" },
          timeoutMs: 2000,
          mirrors: [{ cluster: "b", percent: 10 }],
        }),
        requestHeaders: { set: [["x-env", "prod"]] },
        fault: { delay: { ms: 5, percent: 1 } },
      }),
      route("unseen"),
    ],
  ),
]);

describe("explain", () => {
  it("tells the way to the route, and why not an earlier one", () => {
    const told = explained(mesh, { target: "/reviews/1?x" });
    expect(told.tried).toEqual([
      { route: "post", match: 0, verdict: "fails", why: 'method "GET" is not exact "POST"' },
      { route: "jason", match: 0, verdict: "fails", why: 'header end-user is absent, not exact "jason"' },
      { route: "debug", match: 0, verdict: "fails", why: 'path "/reviews/1" is not exact "/status"' },
      { route: "debug", match: 1, verdict: "fails", why: "query parameter debug is absent, not present" },
      { route: "regex", match: 0, verdict: "fails", why: 'path "/reviews/1" is not regex /v[0-9]+/.*' },
      { route: "split", match: 0, verdict: "matches", why: undefined },
    ]);
    expect(told).toMatchObject({
      snapshot: "1.7",
      listener: { name: "127.0.0.1:8080", servicePort: 80 },
      server: { routeTable: "main" },
      virtualHost: { domain: "*.example.com" },
      route: { id: "split" },
    });
    expect(told.filters.map(({ filter }) => filter)).toEqual(["fault", "rewrite", "headers"]);
  });

  it("tells shares, endpoints and the request that would go out", () => {
    const { outcome } = explained(mesh, { target: "/reviews/1?x", fields: ["connection", "x-hop", "x-hop", "1"] });
    if (outcome.kind !== "forwarded") throw new Error(outcome.kind);
    expect(outcome).toMatchObject({ timeoutMs: 2000, mirrors: [{ cluster: "b", percent: 10 }], retry: undefined });
    const [first, second] = outcome.destinations;
    expect(first).toMatchObject({
      cluster: "a",
      share: 0.75,
      endpoints: ["10.0.0.1:80"],
      problem: undefined,
      head: { target: "/api/1?x" },
    });
    expect(second).toMatchObject({ cluster: "gone", share: 0.25, endpoints: [], problem: "the snapshot has no such cluster" });
    expect(field(first!.head.fields, "x-env")).toBe("prod");
    expect(field(first!.head.fields, "x-forwarded-for")).toBe("192.0.2.1");
    expect(field(first!.head.fields, "x-hop")).toBeUndefined();
  });

  it.each<[string, Partial<ExplainRequest>, string]>([
    ["a host nobody has", { authority: "no.test" }, "no virtual host of main takes no.test"],
    ["a path that is refused", { target: "/%00" }, "the path has a form that origins read differently"],
    ["a listener that is not there", { listener: "nope" }, "no listener takes http://shop.example.com"],
  ])("%s", (_, request, reason) => {
    expect(explained(mesh, request).outcome).toEqual({ kind: "refused", reason });
  });

  it("picks the listener by scheme and port", () => {
    expect(explained(mesh, { scheme: "https" }).listener?.name).toBe("127.0.0.1:8443");
    expect(explained(mesh, { authority: "shop.example.com:8080" }).listener?.name).toBe("127.0.0.1:8080");
  });
});

describe("explain and traffic agree", () => {
  const all = Object.entries(CASES).flatMap(([group, cases]) => cases.map((test) => [`${group}: ${test.name}`, test] as const));

  /** What is explained has no content. */
  const explainable = ({ request }: Case): boolean =>
    request.method !== "CONNECT" && !(request.method === "TRACE" && request.body !== undefined);

  it.each(all.filter(([, test]) => explainable(test)))("%s", async (_, test) => {
    const { request } = test;
    const outcome = await runInMemory(test);
    const told = explained(test.snapshot, {
      method: request.method ?? "GET",
      scheme: request.scheme ?? "http",
      authority: request.authority ?? "shop.example.com",
      target: request.target ?? "/",
      fields: [...(request.fields ?? [])],
      listener: request.scheme === "https" ? "127.0.0.1:8443" : "127.0.0.1:8080",
      source: request.peer ?? "192.0.2.1",
    });
    const redirected = told.outcome.kind === "answered" && told.outcome.by === "https-redirect";
    if (!redirected) expect(told.route?.id).toBe(outcome.record.routeId);
    const sent = outcome.upstream[0];
    if (sent === undefined) {
      if (told.outcome.kind === "answered" && outcome.record.flags === "-")
        expect(told.outcome.status).toBe(outcome.response?.status);
      return;
    }
    if (told.outcome.kind !== "forwarded") throw new Error(`sent, but explained as ${JSON.stringify(told.outcome)}`);
    const destination = told.outcome.destinations.find(({ endpoints }) => endpoints.includes(sent.to));
    expect(destination?.head).toMatchObject({
      method: sent.head.method,
      target: sent.head.target,
      authority: sent.head.authority,
    });
  });
});
