/**
 * What a gateway would do with a request, and why: the functions that decide about traffic, run without sending anything, charging anything or
 * throwing dice.
 */
import type { Candidate } from "../compile/route-index.ts";
import type {
  CompiledForward,
  CompiledListener,
  CompiledRoute,
  CompiledRouteTable,
  CompiledVirtualHost,
  Tables,
} from "../compile/tables.ts";
import { answerPreflight } from "../filter/cors.ts";
import { upstreamHead } from "../filter/forward.ts";
import { redirect, redirectToHttps } from "../filter/redirect.ts";
import { addressAndPort } from "../http/address.ts";
import { connectionOptionsOf } from "../http/hop-by-hop.ts";
import { type FieldList, field, fieldJoined, NO_BODY, type RequestHead, type Scheme } from "../http/message.ts";
import { endsHere } from "../last-recipient.ts";
import { findHost, hostOf } from "../match/host.ts";
import { normalizePath } from "../match/path.ts";
import type { RequestView } from "../match/request.ts";
import { findRoute } from "../match/route.ts";
import type { PeerInfo } from "../ports.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import { unreachable } from "../result.ts";
import type { ExplainedOutcome, ExplainedQuota, ExplainRequest, Explanation } from "./explanation.ts";
import { triedMatches } from "./matches.ts";

export function explain(tables: Tables, request: ExplainRequest): Explanation {
  return new Explainer(tables, request).run();
}

class Explainer implements RequestView {
  readonly method: string;
  readonly scheme: Scheme;
  readonly authority: string;
  readonly fields: FieldList;
  readonly path: string;
  readonly query: string;
  readonly servicePort: number;
  readonly #tables: Tables;
  readonly #request: ExplainRequest;
  readonly #listener: CompiledListener | undefined;
  readonly #normalized: string | undefined;
  readonly #filters: { filter: string; effect: string }[] = [];

  constructor(tables: Tables, request: ExplainRequest) {
    const mark = request.target.indexOf("?");
    this.#tables = tables;
    this.#request = request;
    this.#listener = findListener(tables, request);
    this.#normalized = normalizePath(mark === -1 ? request.target : request.target.slice(0, mark));
    this.method = request.method;
    this.scheme = request.scheme;
    this.authority = request.authority.toLowerCase();
    this.fields = request.fields;
    this.path = this.#normalized ?? "";
    this.query = mark === -1 ? "" : request.target.slice(mark + 1);
    this.servicePort = this.#listener?.source.servicePort ?? 0;
  }

  run(): Explanation {
    const listener = this.#listener;
    const server = listener === undefined ? undefined : findHost(listener.servers, hostOf(this.authority));
    const virtualHost = server === undefined ? undefined : findHost(server.routes.hosts, hostOf(this.authority));
    const ended = this.#endsHere();
    const found =
      ended !== undefined || virtualHost === undefined || this.#normalized === undefined
        ? undefined
        : findRoute(virtualHost.index, this);
    const quotas = (found?.route ?? virtualHost ?? server?.routes)?.quotas ?? [];
    const outcome = ended ?? this.#outcome(server?.routes, virtualHost, found);
    const charged = ended === undefined && (outcome.kind !== "answered" || outcome.by !== "https-redirect");
    return {
      snapshot: this.#tables.version,
      listener: listener === undefined ? undefined : pick(listener.source, "name", "servicePort", "origins"),
      server: server === undefined ? undefined : { name: server.source.name, routeTable: server.routes.source.name },
      path: this.#normalized,
      virtualHost:
        virtualHost === undefined
          ? undefined
          : { name: virtualHost.source.name, domain: domainOf(virtualHost, hostOf(this.authority)) },
      tried: virtualHost === undefined ? [] : triedMatches(virtualHost, found, this),
      route:
        found === undefined
          ? undefined
          : { id: found.route.source.id, name: found.route.source.name, origin: found.route.source.origin },
      filters: this.#filters,
      quotas: charged && this.#normalized !== undefined ? quotas.map((quota) => this.#quota(quota)) : [],
      outcome,
    };
  }

  /** A TRACE or OPTIONS that goes no further, whatever the routes say. */
  #endsHere(): ExplainedOutcome | undefined {
    const head = { ...this.#forwardContext().head, fields: [...this.fields] };
    const last = endsHere(head, "HTTP/1.1");
    if (typeof last === "string") return { kind: "refused", reason: last };
    return last === undefined ? undefined : { kind: "answered", by: "last-hop", status: last.head.status };
  }

  #outcome(
    table: CompiledRouteTable | undefined,
    virtualHost: CompiledVirtualHost | undefined,
    found: Candidate<CompiledRoute> | undefined,
  ): ExplainedOutcome {
    const { scheme, authority } = this;
    if (table === undefined) return { kind: "refused", reason: `no listener takes ${scheme}://${authority}` };
    if (this.#normalized === undefined) return { kind: "refused", reason: "the path has a form that origins read differently" };
    if (virtualHost === undefined)
      return { kind: "refused", reason: `no virtual host of ${table.source.name} takes ${hostOf(authority)}` };
    const tls = virtualHost.source.httpsRedirect;
    if (tls !== undefined && scheme === "http") return this.#answered("https-redirect", redirectToHttps(tls, this).head);
    if (found === undefined) return { kind: "refused", reason: `no route of ${virtualHost.source.name} matches` };
    return this.#routed(found);
  }

  #routed({ route, match }: Candidate<CompiledRoute>): ExplainedOutcome {
    this.#noteFault(route);
    if (route.cors !== undefined) {
      const preflight = answerPreflight(route.cors, this.method, this.fields);
      if (preflight !== undefined) return this.#answered("cors", preflight.head);
      this.#note("cors", "adds access-control fields to the response for origins that the policy allows");
    }
    const { action } = route;
    switch (action.kind) {
      case "redirect":
        return this.#answered("redirect", redirect(action.source, match, this).head);
      case "direct":
        return this.#answered("direct", { status: action.status, fields: [] });
      case "forward":
        return this.#forwarded(route, action, match);
      default:
        return unreachable(action);
    }
  }

  #noteFault(route: CompiledRoute): void {
    const { delay, abort } = route.fault ?? {};
    if (delay !== undefined) this.#note("fault", `delays ${delay.percent} % by ${delay.ms} ms; those skip timeout and retries`);
    if (abort !== undefined) this.#note("fault", `aborts ${abort.percent} % with status ${abort.status}`);
  }

  #forwarded(route: CompiledRoute, action: CompiledForward, match: Candidate<CompiledRoute>["match"]): ExplainedOutcome {
    const { source } = route;
    if (action.rewrite !== undefined) this.#note("rewrite", "changes the path");
    if (source.requestHeaders !== undefined) this.#note("headers", "changes fields of the request");
    if (source.responseHeaders !== undefined) this.#note("headers", "changes fields of the response");
    let before = 0;
    const context = { ...this.#forwardContext(), match, route };
    const destinations = action.destinations.map((destination) => {
      const share = destination.upTo - before;
      before = destination.upTo;
      return {
        cluster: destination.name,
        share,
        endpoints: destination.cluster?.endpoints.map(({ address, port }) => addressAndPort(address, port)) ?? [],
        problem:
          destination.cluster === undefined
            ? "the snapshot has no such cluster"
            : destination.cluster.balancer === undefined
              ? "it has no endpoints"
              : undefined,
        head: upstreamHead(context, action, destination, this.#tables.settings),
      };
    });
    const policy = source.action.kind === "forward" ? source.action.retry : undefined;
    return {
      kind: "forwarded",
      destinations,
      timeoutMs: action.timeoutMs,
      retry:
        policy === undefined || action.retry === undefined
          ? undefined
          : {
              attempts: policy.attempts,
              perTryTimeoutMs: policy.perTryTimeoutMs,
              on: [...policy.on, ...policy.statusCodes.map(String)],
            },
      mirrors: action.mirrors.map(({ cluster, percent }) => ({ cluster: cluster.source.name, percent })),
    };
  }

  #forwardContext() {
    const { method, scheme, authority, fields, path } = this;
    const head: RequestHead = { method, scheme, authority, target: this.#request.target, fields, body: NO_BODY };
    const connection = fieldJoined(fields, "connection");
    const connectionOptions = connection === undefined ? undefined : connectionOptionsOf(connection);
    return {
      head,
      scheme,
      authority,
      fields,
      path,
      version: "1.1" as const,
      connectionOptions,
      peer: this.#peer,
      random: () => 0,
    };
  }

  get #peer(): PeerInfo {
    return { address: this.#request.source, port: 0 };
  }

  #answered(
    by: "https-redirect" | "cors" | "redirect" | "direct",
    head: { readonly status: number; readonly fields: FieldList },
  ): ExplainedOutcome {
    const location = field(head.fields, "location");
    return { kind: "answered", by, status: head.status, ...(location === undefined ? {} : { location }) };
  }

  #note(filter: string, effect: string): void {
    this.#filters.push({ filter, effect });
  }

  #quota(quota: CompiledQuota): ExplainedQuota {
    const { policy, id } = quota;
    const applies = quota.applies(this);
    const key = applies ? quota.key(this, this.#peer) : undefined;
    const { limits } = quota.limits(key);
    return {
      id,
      mode: policy.mode,
      applies: applies && !(key === undefined && policy.whenKeyMissing === "skip"),
      note: !applies
        ? "none of its matches holds"
        : key === undefined
          ? `the request lacks a part of the key: ${policy.whenKeyMissing}`
          : undefined,
      key,
      cost: quota.cost(this.fields),
      limits: limits.map(({ rule, kind, amount, windowMs }) => ({
        name: rule.slice(id.length + 1),
        amount,
        perMs: windowMs,
        window: kind,
      })),
    };
  }
}

function findListener(tables: Tables, request: ExplainRequest): CompiledListener | undefined {
  if (request.listener !== undefined) return tables.listeners.get(request.listener);
  const fitting = [...tables.listeners.values()].filter(({ source }) => source.protocol === request.scheme);
  const port = Number(request.authority.slice(hostOf(request.authority).length + 1));
  return fitting.find(({ source }) => source.port === port || source.servicePort === port) ?? fitting[0];
}

function domainOf(virtualHost: CompiledVirtualHost, host: string): string {
  const { domains } = virtualHost.source;
  if (domains.includes(host)) return host;
  const wide = domains.filter((domain) => domain.startsWith("*.") && host.endsWith(domain.slice(1)));
  return wide.sort((a, b) => b.length - a.length)[0] ?? "*";
}

function pick<T, K extends keyof T>(from: T, ...keys: readonly K[]): Pick<T, K> {
  const picked = {} as Pick<T, K>;
  for (const key of keys) picked[key] = from[key];
  return picked;
}
