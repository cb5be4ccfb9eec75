/** The egress Worker's answers, with a `fetch` that plays what it is told. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { egressRule } from "../../test/support/snapshots.ts";
import { compile, compileEgress } from "../core/index.ts";
import { DEFAULT_SETTINGS, type EgressConfig, type QuotaPolicy } from "../core/ir/index.ts";
import { EgressWorker, PROXY_CREDENTIALS, type WayIn } from "./egress-worker.ts";
import type { InForce } from "./isolate.ts";
import { IsolateQuotas } from "./quotas.ts";
import { RequestContext } from "./request-context.ts";
import { readRequest } from "./request-head.ts";

const ORIGIN = { kind: "EgressPolicy", namespace: "shop", name: "p" };
const CHECKOUT: WayIn = { kind: "binding", service: "checkout" };
const rule = egressRule({ quotas: ["shop/q"] });
const config: EgressConfig = {
  policies: [
    {
      id: "shop/p",
      origin: ORIGIN,
      namespace: "shop",
      floor: false,
      from: [
        { kind: "edgeService", name: "checkout" },
        { kind: "proxyUser", name: "batch" },
      ],
      mode: "enforce",
      allow: [rule],
      deny: [],
    },
  ],
  staticHosts: [],
  users: [],
  realm: "edge",
};

function quota(over: Partial<QuotaPolicy>): QuotaPolicy {
  return {
    id: "shop/q",
    origin: ORIGIN,
    matches: [],
    key: [],
    limits: [{ name: "limit-1", amount: 10, perMs: 60_000, window: "rolling" }],
    cost: { kind: "fixed", amount: 1 },
    unit: "requests",
    overrides: [],
    whenKeyMissing: "share",
    scope: "local",
    onStoreFailure: { kind: "deny" },
    mode: "enforce",
    headers: "none",
    response: { status: 429 },
    ...over,
  };
}

function inForce(policy: QuotaPolicy, closed: InForce["closed"] = {}): InForce {
  const snapshot = {
    settings: DEFAULT_SETTINGS,
    listeners: [],
    routeTables: [],
    clusters: [],
    endpoints: [],
    quotas: [policy],
    egress: config,
  };
  const tables = compile(snapshot, "1.1", undefined);
  if (!tables.ok) throw new TypeError(JSON.stringify(tables.error));
  const egress = compileEgress(config, tables.value.quotas);
  if (!egress.ok) throw new TypeError(JSON.stringify(egress.error));
  const age = { sections: {}, nextChangeS: undefined } as unknown as InForce["age"];
  return { version: "1.1", tables: tables.value, egress: egress.value, closed, age };
}

interface Fetched {
  readonly url: string;
  readonly init: RequestInit;
}

// Node has neither of these streams of the runtime's; here they need not tell lengths.
vi.stubGlobal("IdentityTransformStream", TransformStream);
vi.stubGlobal(
  "FixedLengthStream",
  class extends TransformStream {
    constructor(_length: number) {
      super();
    }
  },
);

let fetched: Fetched[];
let waiting: Promise<unknown>[];
let logged: Record<string, unknown>[];
let unreached: string[];
let play: () => Promise<Response>;
let worker: EgressWorker;

beforeEach(() => {
  fetched = [];
  logged = [];
  unreached = [];
  waiting = [];
  play = async () => new Response("fine");
  worker = new EgressWorker({
    env: { PROXY_TOKEN_BATCH: "correct-horse-battery" },
    quotas: new IsolateQuotas({ namespace: undefined, token: undefined }),
    clock: { now: () => 0, unixMs: () => 0 },
    arm: () => () => undefined,
    internet: {
      fetch: (input, init) => {
        fetched.push({ url: String(input), init });
        return play();
      },
    },
    writeDecision: (line) => logged.push(JSON.parse(line)),
    log: (_level, message, fields) => unreached.push(`${message}: ${fields["origin"]} ${fields["reason"]}`),
  });
});

/** @param held null: no snapshot */
function ask(
  url: string,
  way = CHECKOUT,
  held: InForce | null = inForce(quota({})),
  headers: Record<string, string> = {},
): Promise<Response> {
  const request = new Request(url, { headers });
  const read = readRequest(request, "x-forwarded-for");
  if (read === undefined) throw new TypeError(url);
  const context = new RequestContext({ waitUntil: (work: Promise<unknown>) => void waiting.push(work) });
  return worker.serve({ request, read, way }, read.head, held ?? undefined, context);
}

/** What was passed on, of the last request. */
function sent(): readonly (readonly [string, string])[] {
  return [...new Headers(fetched.at(-1)?.init.headers)];
}

describe("requests", () => {
  it("go on with the URL's host, whatever Host says, and without what the caller would have the runtime do", async () => {
    const headers = { host: "evil.example", connection: "x-hop", "x-hop": "1", "x-kept": "yes", "x-tidegate-passport": "forged" };
    expect((await ask("https://api.stripe.com/v1/x", CHECKOUT, undefined, headers)).status).toBe(200);
    expect(fetched[0]).toMatchObject({ url: "https://api.stripe.com/v1/x", init: { redirect: "manual", cf: {} } });
    expect(sent()).toEqual([
      ["via", "1.1 tidegate"],
      ["x-kept", "yes"],
    ]);
  });
});

describe("answers", () => {
  it("are the host's, without following and without words in the gateway's mouth, and each cookie stays one", async () => {
    const headers = new Headers({ location: "http://10.0.0.1/", "x-tidegate-rule": "forged" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    play = async () => new Response(null, { status: 302, headers });
    const answer = await ask("https://api.stripe.com/v1/x");
    expect(fetched[0]?.init.redirect).toBe("manual");
    expect(fetched[0]?.url).toBe("https://api.stripe.com/v1/x");
    expect(answer.status).toBe(302);
    expect(answer.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect([answer.headers.get("location"), answer.headers.get("x-tidegate-rule")]).toEqual(["http://10.0.0.1/", null]);
  });

  it("say when a host was not reached, and what the runtime said only to the operator", async () => {
    play = async () => Promise.reject(new Error("internal error; reference = x"));
    const answer = await ask("https://api.stripe.com/");
    expect(answer.status).toBe(502);
    expect(await answer.text()).not.toContain("internal error");
    expect(unreached).toEqual(["a host was not reached: https://api.stripe.com internal error; reference = x"]);
  });

  it("are refusals without a snapshot, and when its egress section is over", async () => {
    expect((await ask("https://api.stripe.com/", CHECKOUT, null)).status).toBe(403);
    expect((await ask("https://api.stripe.com/", CHECKOUT, inForce(quota({}), { egress: "it has expired" }))).status).toBe(403);
    expect((await ask("https://api.stripe.com/", CHECKOUT, inForce(quota({}), { quota: "it has expired" }))).status).toBe(503);
    expect(fetched.length).toBe(0);
  });
});

describe("a caller over HTTPS", () => {
  const proxy: WayIn = { kind: "proxy", service: undefined };
  const credentials = `Basic ${btoa("batch:correct-horse-battery")}`;

  it("is known by its token, and nothing about it goes to the host", async () => {
    const headers = {
      [PROXY_CREDENTIALS]: credentials,
      "cf-connecting-ip": "192.0.2.1",
      "x-real-ip": "192.0.2.1",
      accept: "*/*",
    };
    expect((await ask("https://api.stripe.com/", proxy, undefined, headers)).status).toBe(200);
    expect(sent()).toEqual([
      ["accept", "*/*"],
      ["via", "1.1 tidegate"],
    ]);
    expect(logged).toMatchObject([{ verdict: "allow", user: "batch", listener: "proxy" }]);
  });

  it("is nobody by a field that only proxies read", async () => {
    const headers = { "proxy-authorization": credentials };
    expect((await ask("https://api.stripe.com/", proxy, undefined, headers)).status).toBe(407);
  });
});

describe("a quota that holds until the end", () => {
  const one = inForce(quota({ unit: "concurrent", limits: [{ name: "limit-1", amount: 1, perMs: 0, window: "rolling" }] }));
  const status = async (): Promise<number> => {
    const before = waiting.length;
    const answer = await ask("https://api.stripe.com/", CHECKOUT, one);
    await answer.body?.cancel();
    await Promise.allSettled(waiting.slice(before));
    return answer.status;
  };

  it.each([
    ["was read", async (answer: Response) => void (await answer.text())],
    ["was given up", async (answer: Response) => answer.body?.cancel()],
  ])("is given back when the answer %s, and not before", async (_how, end) => {
    const answer = await ask("https://api.stripe.com/", CHECKOUT, one);
    expect(await status()).toBe(429);
    await end(answer);
    await Promise.allSettled(waiting);
    expect(await status()).toBe(200);
  });

  it("is given back when the host breaks off", async () => {
    play = async () => new Response(new ReadableStream({ pull: (controller) => controller.error(new Error("cut")) }));
    const answer = await ask("https://api.stripe.com/", CHECKOUT, one);
    await expect(answer.text()).rejects.toThrow("cut");
    play = async () => new Response("fine");
    expect(await status()).toBe(200);
  });

  it("is given back when there was no answer", async () => {
    play = async () => Promise.reject(new Error("no"));
    expect(await status()).toBe(502);
    play = async () => new Response("fine");
    expect(await status()).toBe(200);
  });
});
