/**
 * Cases that nobody thought of: routes, rules and requests thrown together by fast-check from fixed seeds. What each has to come to is what core alone makes
 * of it in memory; the runners then hold the runtimes against that.
 */
import fc from "fast-check";
import type { FieldMatch, HeaderOps, Route, RouteAction, RouteMatch, StringMatch } from "../../gateway/core/ir/index.ts";
import type { RequestRecord } from "../../gateway/core/ports.ts";
import { exact, forward, NO_RETRY, prefix, present, regex, route, segments, snapshot, suffix, virtualHost } from "./build.ts";
import type { Case, CaseRequest, Expectation, OriginBehaviour } from "./case.ts";
import { runInMemory } from "./memory.ts";

/** One row per seed; a seed that once found something stays. */
export const SEEDS: readonly number[] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89];
const CASES_PER_SEED = 20;

type Sketch = Omit<Case, "expect" | "name">;

const segment = fc.constantFrom("a", "b", "v1", "x.png", "%41", "caf%C3%A9", "..", ".", "", "a%2Fb", "A");
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((list) => `/${list.join("/")}`);
const query = fc.constantFrom("", "", "?", "?a=1", "?a=2&b", "?q=%20x", "?a=1&a=2", "?b=/../c");
const authority = fc.constantFrom("shop.example.com", "api.example.com", "a.b.example.com:8080", "other.test");
const method = fc.constantFrom("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS");

const LINES: readonly (readonly string[])[] = [
  ["x-tier", "gold"],
  ["x-tier", "silver"],
  ["cookie", "id=7; b=2"],
  ["accept", "text/html, */*;q=0.1"],
  ["x-forwarded-for", "203.0.113.9"],
  ["x-forwarded-proto", "https"],
  ["via", "1.1 cdn"],
  ["user-agent", "probe/1"],
  ["connection", "x-tier"],
  ["origin", "https://shop.example.com"],
];
const fields = fc.subarray([...LINES], { maxLength: 4 }).map((lines) => ["x-request-id", "one", ...lines.flat()]);

const request: fc.Arbitrary<CaseRequest> = fc
  .record({ method, authority, path, query, fields, body: fc.constantFrom("", "hello", "x".repeat(2_000)) })
  .map(({ path: way, query: rest, body, ...made }) => {
    const carries = made.method === "POST" || made.method === "PUT";
    return { ...made, target: way + rest, ...(carries ? { body } : {}) };
  });

const pathMatch: fc.Arbitrary<StringMatch> = fc.oneof(
  path.map(exact),
  fc.constantFrom("/", "/a", "/v1/", "/b").map(prefix),
  fc.constantFrom("/a", "/v1", "/A/b").map(segments),
  fc.constantFrom("/[a-z0-9]+/.*", "/a(/b)?", ".*\\.png").map(regex),
  fc.constant(suffix(".png")),
);
const fieldMatch: fc.Arbitrary<FieldMatch> = fc.record({
  name: fc.constantFrom("x-tier", "cookie", "accept"),
  match: fc.constantFrom<StringMatch>(exact("gold"), present, prefix("id="), regex(".*(silver|html).*")),
  invert: fc.boolean(),
});
const match: fc.Arbitrary<RouteMatch> = fc.record(
  {
    path: pathMatch,
    method: fc.constantFrom("GET", "POST").map(exact),
    headers: fc.array(fieldMatch, { minLength: 1, maxLength: 2 }),
    query: fc.constant([{ name: "a", match: exact("1") }]),
    authority: fc.constant(suffix("example.com")),
  },
  { requiredKeys: [] },
);

const pair = fc.tuple(fc.constantFrom("x-tier", "x-added", "cache-control"), fc.constantFrom("one", "two"));
const ops: fc.Arbitrary<HeaderOps> = fc.record({
  remove: fc.subarray(["x-tier", "x-origin", "accept"]),
  set: fc.array(pair, { maxLength: 2 }),
  add: fc.array(pair, { maxLength: 2 }),
});

const rewrite = fc.constantFrom(
  { path: "/new" },
  { path: "/" },
  { authority: "origin.test" },
  { pathRegex: { match: "/([^/]+)", substitution: "/r-\\1" } },
);
const action: fc.Arbitrary<RouteAction> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        to: fc.constantFrom("a", "b", "pair", "pair", "empty", "missing"),
        rewrite: fc.option(rewrite, { nil: undefined }),
        attempts: fc.constantFrom(0, 1, 2, 2),
        on: fc.constantFrom("5xx", "5xx", "gateway-error", "retriable-4xx" as const),
      })
      .map(({ to, rewrite: change, attempts, on }) =>
        forward(to, {
          retry: { ...NO_RETRY, attempts, on: [on], backoffBaseMs: 1, backoffMaxMs: 1 },
          ...(change === undefined ? {} : { rewrite: change }),
        }),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<RouteAction>(
      { kind: "redirect", status: 301, path: "/moved" },
      { kind: "redirect", status: 308, prefix: "/v2" },
      { kind: "redirect", status: 302, scheme: "https", authority: "new.test" },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<RouteAction>(
      { kind: "direct", status: 200, body: { text: "direct" } },
      { kind: "direct", status: 404 },
      { kind: "direct", status: 503, body: { base64: "aGk=" } },
    ),
  },
);

const someRoute: fc.Arbitrary<Omit<Route, "id">> = fc
  .record({
    matches: fc.oneof(fc.constant([]), fc.array(match, { minLength: 1, maxLength: 2 })),
    action,
    requestHeaders: fc.option(ops, { nil: undefined }),
    responseHeaders: fc.option(ops, { nil: undefined }),
  })
  .map(({ matches, requestHeaders, responseHeaders, ...rest }) => ({
    ...route("", matches, rest),
    ...(requestHeaders === undefined ? {} : { requestHeaders }),
    ...(responseHeaders === undefined ? {} : { responseHeaders }),
  }));

const origin: fc.Arbitrary<readonly OriginBehaviour[]> = fc.array(
  fc.record({
    status: fc.constantFrom(200, 201, 301, 404, 409, 500, 503, 503),
    fields: fc
      .subarray([
        ["x-origin", "1"],
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["x-tier", "theirs"],
        ["cache-control", "no-store"],
      ])
      .map((lines) => lines.flat()),
    body: fc.constantFrom("", "from the origin", "y".repeat(3_000)),
  }),
  { minLength: 1, maxLength: 3 },
);

const sketch: fc.Arbitrary<Sketch> = fc
  .record({
    request,
    origin,
    routes: fc.array(someRoute, { minLength: 1, maxLength: 4 }),
    explain: fc.boolean(),
    host: fc.constantFrom("*", "*.example.com", "shop.example.com"),
  })
  .map(({ routes, explain, host, ...rest }) => ({
    ...rest,
    snapshot: snapshot(
      [
        virtualHost(
          [host],
          routes.map((one, i) => ({ ...one, id: `r${i}` })),
        ),
      ],
      { settings: { explainHeaders: explain } },
    ),
  }));

/** All generated cases, with what core makes of them. */
export async function generatedCases(): Promise<readonly Case[]> {
  const cases: Case[] = [];
  for (const seed of SEEDS) {
    for (const [i, made] of fc.sample(sketch, { seed, numRuns: CASES_PER_SEED }).entries()) {
      const name = `seed ${seed}, number ${i}`;
      cases.push({ ...made, name, expect: await expectation({ ...made, name, expect: { status: 0 } }) });
    }
  }
  return cases;
}

async function expectation(test: Case): Promise<Expectation> {
  const { response, upstream, record } = await runInMemory(test);
  if (response === undefined) throw new Error(`${test.name} has no response`);
  return {
    status: response.status,
    body: test.request.method === "HEAD" ? "" : response.body,
    fields: joined(response.fields, NOT_COMPARED),
    upstream: upstream.map(({ to, head, body }) => ({
      to,
      method: head.method,
      authority: head.authority,
      target: head.target,
      fields: joined(head.fields, NOT_COMPARED),
      body,
    })),
    ...told(record),
  };
}

function told({ routeId, flags, rule, reason }: RequestRecord): Partial<Expectation> {
  return {
    route: routeId ?? null,
    flags,
    ...(rule === undefined ? {} : { rule }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** Made anew by every hop. */
const NOT_COMPARED: ReadonlySet<string> = new Set(["date", "connection"]);

function joined(list: readonly string[], without: ReadonlySet<string>): { readonly [name: string]: string } {
  const found: { [name: string]: string } = {};
  for (let i = 0; i < list.length; i += 2) {
    const [name = "", value = ""] = [list[i], list[i + 1]];
    if (!without.has(name)) found[name] = name in found ? `${found[name]}, ${value}` : value;
  }
  return found;
}
