/** A site with global quotas and nothing else: requests are charged as `?key=…&cost=…`, answered with what the filter said. */
import {
  type CompiledQuota,
  compileQuota,
  DEFAULT_MAX_COUNTERS,
  MapBank,
  QuotaFilter,
  type QuotaVerdict,
} from "../../../gateway/core/index.ts";
import type { QuotaPolicy } from "../../../gateway/core/ir/index.ts";
import { type BankPlace, IsolateBank } from "../../../gateway/edge/bank.ts";
import { answerBankRequest, BANK_PATH } from "../../../gateway/edge/bank-entry.ts";

export { QuotaBank } from "../../../gateway/edge/bank-do.ts";

interface Env {
  readonly BANK?: DurableObjectNamespace;
  readonly BANK_TOKEN: string;
  /** Set: the banks are at another site. */
  readonly BANK_URL?: string;
  readonly QUOTAS: readonly QuotaPolicy[];
  readonly DEADLINE_MS: string;
}

interface Isolate {
  readonly bank: IsolateBank;
  readonly local: MapBank;
  readonly quotas: ReadonlyMap<string, CompiledQuota>;
}

let isolate: Isolate | undefined;

function born(env: Env): Isolate {
  const local = new MapBank({ maxCounters: DEFAULT_MAX_COUNTERS, unixMs: () => Date.now() });
  const holder = crypto.randomUUID();
  const bank = new IsolateBank({ local, nowUs, holder, deadlineMs: Number(env.DEADLINE_MS) });
  const quotas = new Map<string, CompiledQuota>();
  for (const policy of env.QUOTAS) {
    const compiled = compileQuota(policy, { trustedProxies: 0, zones: new Map() });
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    quotas.set(policy.id, compiled.value);
  }
  return { bank, local, quotas };
}

function nowUs(): number {
  return Math.floor(performance.now() * 1000);
}

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    isolate ??= born(env);
    const url = new URL(request.url);
    if (url.pathname === BANK_PATH) {
      if (request.headers.get("authorization") !== `Bearer ${env.BANK_TOKEN}`) return new Response(null, { status: 401 });
      if (env.BANK === undefined) return new Response(null, { status: 404 });
      return answerBankRequest(request, isolate.quotas, env.BANK);
    }
    if (url.pathname === "/usage") return Response.json(isolate.bank.holder.usage);
    const verdict = await charge(isolate, url, env, ctx);
    const status = verdict.kind === "admitted" ? 200 : verdict.status;
    return new Response(null, { status, headers: headersOf(verdict) });
  },
} satisfies ExportedHandler<Env>;

function charge(
  { bank, local, quotas }: Isolate,
  url: URL,
  env: Env,
  ctx: ExecutionContext,
): QuotaVerdict | Promise<QuotaVerdict> {
  const fields = ["x-key", url.searchParams.get("key") ?? "", "x-cost", url.searchParams.get("cost") ?? "1"];
  const view = { method: "GET", scheme: "http", authority: "a", path: "/", query: "", fields, servicePort: 80 };
  const filter = new QuotaFilter({
    bank: local,
    leased: bank.forRequest({ place: placeOf(env), waitUntil: (work) => ctx.waitUntil(work) }),
    fallback: local,
    nowUs,
  });
  return filter.charge([...quotas.values()], view, { address: "192.0.2.1", port: 1 }, 0);
}

function placeOf(env: Env): BankPlace | undefined {
  if (env.BANK_URL !== undefined) return { kind: "elsewhere", url: env.BANK_URL, token: { reveal: () => env.BANK_TOKEN } };
  return env.BANK === undefined ? undefined : { kind: "here", namespace: env.BANK };
}

function headersOf(verdict: QuotaVerdict): Headers {
  const headers = new Headers();
  for (let i = 0; i < verdict.fields.length; i += 2) headers.append(verdict.fields[i] ?? "", verdict.fields[i + 1] ?? "");
  return headers;
}
