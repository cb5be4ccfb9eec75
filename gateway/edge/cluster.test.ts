import { beforeAll, describe, expect, it } from "vitest";
import { type TestSite, testSite } from "../../test/support/passports.ts";
import { PASSPORT_FIELD, verifyPassport, WEB_CRYPTO_SIGNATURES } from "../core/identity/index.ts";
import { NO_BODY, type RequestHead, type SendStep, type UpstreamTarget } from "../core/index.ts";
import type { ClusterVia } from "../core/ir/index.ts";
import { type ClusterOptions, Clusters } from "./cluster.ts";
import { failureOf } from "./fetch-failure.ts";
import { Secret } from "./secret.ts";
import type { TunnelHubs } from "./tunnel.ts";
import { type UpstreamFetcher, Upstreams } from "./upstream.ts";

const START_MS = 1_800_000_000_000;
const ESTABLISHED = { clientAddress: "198.51.100.7", charged: [], traceparent: undefined };
const HEAD: RequestHead = { method: "GET", scheme: "https", authority: "shop.test:443", target: "/", fields: [], body: NO_BODY };
const VIA = { kind: "passport", cluster: "main", destination: "outbound|80||a.test" } as const;
const pool = { connectTimeoutMs: 1, idleTimeoutMs: 1, maxConnections: 1, maxPendingRequests: 1, maxRequestsPerConnection: 0 };
const tls = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false } as const;

function target(via: ClusterVia, change: Partial<UpstreamTarget> = {}): UpstreamTarget {
  const endpoint = { key: "c|in.test|443", address: "in.test", port: 443, weight: 1, active: 0, runtime: undefined };
  return { endpoint, pool, tls, via, ...change };
}

let site: TestSite;
let nowMs = START_MS;
let ids = 0;
/** What went to the gateway. */
let sent: Request;
const gateway: UpstreamFetcher = {
  fetch: async (input, init) => {
    sent = new Request(input, init);
    return new Response("served");
  },
};
beforeAll(async () => {
  site = await testSite();
});

function clusters(change: Partial<ClusterOptions> = {}): Clusters {
  const upstreams = new Upstreams({ UPSTREAM_IN_TEST_443: gateway }, { allowAddresses: false, ownHost: false });
  const newId = () => `id-${++ids}`;
  const passportKey = new Secret(site.jwk);
  return new Clusters({ site: "europe", passportKey, tunnels: undefined, upstreams, unixMs: () => nowMs, newId, ...change });
}

function fetcherOf(from: Clusters, head: RequestHead = HEAD): { readonly url: string; readonly fetcher: UpstreamFetcher } {
  const call = from.call({ target: target(VIA), head }, VIA, ESTABLISHED);
  if (call.kind === "refused") throw new Error(call.reason);
  return call;
}

describe("a request to the gateway of a cluster", () => {
  it.each([
    ["/", "/"],
    ["//x", "//x"],
    ["/x?", "/x?"],
    ["/a/%2e%2E/b", "/b"],
    ["/{^}?a='b'", "/%7B%5E%7D?a=%27b%27"],
  ])("%s: its passport is for what `fetch` makes of it", async (path, wire) => {
    const { url, fetcher } = fetcherOf(clusters(), { ...HEAD, target: path });
    await fetcher.fetch(url, { method: "GET", headers: { [PASSPORT_FIELD]: "mine" } });
    const settings = { audience: "main", issuers: [site.issuer] };
    const ports = { signatures: WEB_CRYPTO_SIGNATURES, memory: { remember: () => "fresh" as const } };
    // The port is the scheme's own, and goes.
    const request = { method: "GET", authority: "shop.test", target: wire };
    const verdict = await verifyPassport(sent.headers.get(PASSPORT_FIELD) ?? "", request, settings, ports, nowMs);
    expect(verdict).toMatchObject({ ok: true, value: { authority: "shop.test:443", wireAuthority: "shop.test", target: wire } });
    expect(sent.url).toBe(`https://shop.test${wire}`);
  });

  it("has a passport as old as its sending, not as the decision", async () => {
    const { url, fetcher } = fetcherOf(clusters());
    nowMs += 60_000;
    await fetcher.fetch(url, { method: "GET" });
    const [, claims = ""] = (sent.headers.get(PASSPORT_FIELD) ?? "").split(".");
    expect(JSON.parse(Buffer.from(claims, "base64url").toString())).toMatchObject({ iat: START_MS / 1000 + 60 });
  });

  it("fails in core's words where a passport cannot be made", async () => {
    const { url, fetcher } = fetcherOf(clusters({ passportKey: new Secret('{"kty":"OKP"}') }));
    const failure = await fetcher.fetch(url, {}).then(String, failureOf);
    expect(failure).toMatchObject({ code: "internal", reason: expect.stringContaining("passport key"), neverSent: true });
  });
});

describe("a request that cannot go to its cluster is refused with the reason", () => {
  const nobody: TunnelHubs = {
    idFromName: () => {
      throw new Error("not asked");
    },
    get: () => {
      throw new Error("not asked");
    },
  };
  const tunnel = { ...VIA, kind: "tunnel" } as const;
  const { tls: _, ...plain } = target(VIA);
  const step = (over: Partial<SendStep>) => ({ target: target(VIA), head: HEAD, ...over });
  it.each([
    ["no key", { passportKey: undefined }, VIA, step({}), "bind PASSPORT_KEY"],
    ["no key for a tunnel", { passportKey: undefined, tunnels: nobody }, tunnel, step({}), "bind PASSPORT_KEY"],
    ["no tunnels", {}, tunnel, step({}), "bind TUNNELS"],
    ["a WebSocket by tunnel", { tunnels: nobody }, tunnel, step({ switchTo: "websocket" }), "carries no websocket"],
    ["in clear", {}, VIA, step({ target: { ...plain, tls: undefined } }), "without TLS"],
    ["the server as a whole", {}, VIA, step({ head: { ...HEAD, target: "*" } }), "cannot ask"],
  ] as const)("%s", (_name, options, via, send, reason) => {
    const call = clusters(options).call(send, via, ESTABLISHED);
    expect(call).toMatchObject({ kind: "refused", reason: expect.stringContaining(reason) });
  });
});

it("goes in clear to a gateway on this very machine, and to no other", () => {
  const { tls: _, ...plain } = target(VIA);
  const kindAt = (address: string) => {
    const endpoint = { ...plain.endpoint, address };
    const upstreams = new Upstreams({}, { allowAddresses: true, ownHost: false });
    return clusters({ upstreams }).call({ target: { ...plain, endpoint, tls: undefined }, head: HEAD }, VIA, ESTABLISHED).kind;
  };
  for (const address of ["127.0.0.1", "127.9.9.9", "localhost", "::1"]) expect(kindAt(address), address).toBe("call");
  for (const address of ["10.0.0.1", "127.0.0.1.example.com", "localhost.example.com", "::2"])
    expect(kindAt(address), address).toBe("refused");
});
