/** Properties of whole translations, over small sets of objects made at random. Single ideas have golden pairs in test/golden. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RouteTable, Snapshot } from "../../gateway/core/ir/index.ts";
import { translateText } from "../../test/support/translate-text.ts";
import { compareHosts, covers, intersectHosts } from "../registry/index.ts";

const HOSTS = ["a.example.com", "b.example.com", "*.example.com", "*.b.example.com", "x.b.example.com", "*", "other.org"];
const PREFIXES = ["/", "/a", "/ab", "/b"];

interface GatewayShape {
  readonly port: number;
  readonly hosts: readonly string[];
  readonly age: number;
}
interface ServiceShape {
  readonly gateways: readonly number[];
  readonly hosts: readonly string[];
  readonly routes: readonly (readonly string[])[];
  readonly age: number;
}
interface World {
  readonly gateways: readonly GatewayShape[];
  readonly services: readonly ServiceShape[];
}

const hosts = fc.uniqueArray(fc.constantFrom(...HOSTS), { minLength: 1, maxLength: 3 });
const age = fc.integer({ min: 0, max: 3 });
const world: fc.Arbitrary<World> = fc.record({
  gateways: fc.array(fc.record({ port: fc.constantFrom(80, 81), hosts, age }), { minLength: 1, maxLength: 3 }),
  services: fc.array(
    fc.record({
      gateways: fc.uniqueArray(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 3 }),
      hosts,
      routes: fc.array(fc.uniqueArray(fc.constantFrom(...PREFIXES), { maxLength: 2 }), { minLength: 1, maxLength: 3 }),
      age,
    }),
    { maxLength: 4 },
  ),
});

const created = (seconds: number) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z");

function documents({ gateways, services }: World): string {
  const objects = [
    ...gateways.map(({ port, hosts, age }, index) => ({
      apiVersion: "networking.istio.io/v1",
      kind: "Gateway",
      metadata: { name: `gw-${index}`, namespace: "shop", creationTimestamp: created(age) },
      spec: { servers: [{ port: { number: port, name: "http", protocol: "HTTP" }, hosts }] },
    })),
    ...services.map(({ gateways: bound, hosts, routes, age }, index) => ({
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      metadata: { name: `vs-${index}`, namespace: "shop", creationTimestamp: created(age) },
      spec: {
        hosts,
        gateways: bound.map((gateway) => `gw-${gateway}`),
        http: routes.map((prefixes) => ({
          ...(prefixes.length === 0 ? {} : { match: prefixes.map((prefix) => ({ uri: { prefix } })) }),
          directResponse: { status: 200 },
        })),
      },
    })),
  ];
  return objects.map((object) => JSON.stringify(object)).join("\n---\n");
}

function tableOf(snapshot: Snapshot, port: number): RouteTable | undefined {
  const listener = snapshot.listeners.find(({ servicePort }) => servicePort === port);
  return snapshot.routeTables.find(({ name }) => name === listener?.servers[0]?.routeTable);
}

/** What the reference says, word by word and slowly. */
function expectedRoute({ gateways, services }: World, port: number, host: string, path: string): string | undefined {
  const bindings = services.flatMap((service, index) =>
    service.gateways
      .flatMap((number) => gateways[number] ?? [])
      .filter((gateway) => gateway.port === port)
      .flatMap((gateway) => gateway.hosts.flatMap((own) => service.hosts.map((asked) => intersectHosts(own, asked) ?? [])))
      .flat()
      .map((domain) => ({ domain, service, index })),
  );
  const domain = [...new Set(bindings.map((binding) => binding.domain))]
    .filter((item) => covers(item, host))
    .sort(compareHosts)[0];
  if (domain === undefined) return undefined;
  const bound = [...new Map(bindings.filter((binding) => binding.domain === domain).map((b) => [b.index, b])).values()];
  bound.sort((a, b) => a.service.age - b.service.age || a.index - b.index);
  const specific: { id: string; prefix: string }[] = [];
  const rest: string[] = [];
  for (const { service, index } of bound) {
    for (const [at, prefixes] of service.routes.entries()) {
      const id = `shop/vs-${index}/${at}`;
      const everything = prefixes.length === 0 || prefixes.includes("/");
      specific.push(...prefixes.filter((prefix) => prefix !== "/").map((prefix) => ({ id, prefix })));
      if (everything) {
        rest.push(id);
        break;
      }
    }
  }
  // Alone, a VirtualService keeps its own order; so do its routes here, because nothing stands behind what takes everything.
  return specific.find(({ prefix }) => path.startsWith(prefix))?.id ?? rest[0];
}

function foundRoute(snapshot: Snapshot, port: number, host: string, path: string): string | undefined {
  const candidates = (tableOf(snapshot, port)?.virtualHosts ?? []).flatMap((virtualHost) =>
    virtualHost.domains.filter((domain) => covers(domain, host)).map((domain) => ({ domain, virtualHost })),
  );
  const [best] = candidates.sort((a, b) => compareHosts(a.domain, b.domain));
  const route = best?.virtualHost.routes.find(
    ({ matches }) =>
      matches.length === 0 || matches.some((match) => match.path?.kind === "prefix" && path.startsWith(match.path.value)),
  );
  return route?.id.replace("#catch-all", "");
}

describe("translation", () => {
  test("every request finds the route that the reference says", () => {
    const request = fc.record({
      port: fc.constantFrom(80, 81),
      host: fc.constantFrom(
        "a.example.com",
        "b.example.com",
        "c.example.com",
        "x.b.example.com",
        "y.b.example.com",
        "example.com",
        "other.org",
      ),
      path: fc.constantFrom("/", "/a", "/abc", "/b", "/z"),
    });
    fc.assert(
      fc.property(world, fc.array(request, { minLength: 1, maxLength: 8 }), (objects, requests) => {
        const { snapshot } = translateText(documents(objects), "world");
        for (const { port, host, path } of requests) {
          expect(foundRoute(snapshot, port, host, path)).toBe(expectedRoute(objects, port, host, path));
        }
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  test("the order in which objects come leaves no trace", () => {
    fc.assert(
      fc.property(world, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (objects, dice) => {
        const text = documents(objects);
        const shuffled = translateText(text, "world", (list) =>
          list
            .map((object) => ({ object, by: dice.next().value }))
            .sort((a, b) => a.by - b.by)
            .map(({ object }) => object),
        );
        expect(JSON.stringify(shuffled)).toBe(JSON.stringify(translateText(text, "world")));
      }),
      { numRuns: 100, seed: 7 },
    );
  });

  test("in a table no domain stands twice, in a virtual host no id, and hosts are in order of precedence", () => {
    fc.assert(
      fc.property(world, (objects) => {
        for (const { virtualHosts } of translateText(documents(objects), "world").snapshot.routeTables) {
          const domains = virtualHosts.flatMap((virtualHost) => virtualHost.domains);
          expect(new Set(domains).size).toBe(domains.length);
          expect(virtualHosts.map(({ name }) => name)).toEqual(virtualHosts.map(({ name }) => name).sort(compareHosts));
          for (const { routes } of virtualHosts) expect(new Set(routes.map(({ id }) => id)).size).toBe(routes.length);
        }
      }),
      { numRuns: 100, seed: 7 },
    );
  });

  test("every conflict is told on two objects", () => {
    fc.assert(
      fc.property(world, (objects) => {
        const conflicts = translateText(documents(objects), "world").problems.filter(({ severity }) => severity === "conflict");
        for (const { message, ref } of conflicts) {
          const other = /(?:VirtualService|Gateway) (\S+)\/(\S+) spec/.exec(message);
          const told = conflicts.some(
            (problem) => problem.ref?.name === other?.[2] && problem.message.includes(`${ref?.namespace}/${ref?.name} `),
          );
          expect(told).toBe(true);
        }
      }),
      { numRuns: 100, seed: 7 },
    );
  });

  test("programmed names what the snapshot is made of, and nothing else", () => {
    const text = documents({
      gateways: [{ port: 80, hosts: ["a.example.com"], age: 0 }],
      services: [
        { gateways: [0], hosts: ["a.example.com"], routes: [[]], age: 0 },
        { gateways: [0], hosts: ["b.example.com"], routes: [[]], age: 0 },
      ],
    });
    expect(translateText(text, "world").programmed).toEqual(["Gateway shop/gw-0", "VirtualService shop/vs-0"]);
  });
});
