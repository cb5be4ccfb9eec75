/**
 * What a gateway would do with a request, and why: the functions that decide about traffic, run without sending anything, charging anything or
 * throwing dice.
 */
import type { Candidate, PathNode } from "./compile/route-index.ts";
import type { FieldTest, StringTest } from "./compile/string.ts";
import type {
  CompiledForward,
  CompiledListener,
  CompiledRoute,
  CompiledRouteTable,
  CompiledVirtualHost,
  Tables,
} from "./compile/tables.ts";
import { answerPreflight } from "./filter/cors.ts";
import { upstreamHead } from "./filter/forward.ts";
import { redirect, redirectToHttps } from "./filter/redirect.ts";
import { addressAndPort } from "./http/address.ts";
import { type FieldList, field, fieldJoined, NO_BODY, type RequestHead, type Scheme } from "./http/message.ts";
import type { Origin } from "./ir/index.ts";
import { endsHere } from "./last-recipient.ts";
import { findHost, hostOf } from "./match/host.ts";
import { normalizePath } from "./match/path.ts";
import { queryValue } from "./match/query.ts";
import { type Condition, failedCondition, type RequestView, testHeader, testQuery } from "./match/request.ts";
import { findRoute } from "./match/route.ts";
import type { PeerInfo } from "./ports.ts";
import type { CompiledQuota } from "./quota/plan.ts";
import { unreachable } from "./result.ts";

export interface ExplainRequest {
  readonly method: string;
  readonly scheme: Scheme;
  /** host[:port] */
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  readonly fields: FieldList;
  /** Address of the client's end of the connection. */
  readonly source: string;
  /** Listener by name; undefined: the first that speaks the scheme, on the authority's port if there is one. */
  readonly listener?: string;
}

export interface Explanation {
  readonly snapshot: string;
  readonly listener: { readonly name: string; readonly servicePort: number; readonly origins: readonly Origin[] } | undefined;
  readonly server: { readonly name: string; readonly routeTable: string } | undefined;
  /** As conditions see it; undefined: refused. */
  readonly path: string | undefined;
  readonly virtualHost: { readonly name: string; readonly domain: string } | undefined;
  /** Every match that was looked at before the verdict, in order. */
  readonly tried: readonly TriedMatch[];
  readonly route: { readonly id: string; readonly name: string | undefined; readonly origin: Origin } | undefined;
  /** What happens to the request besides being routed, in order. */
  readonly filters: readonly { readonly filter: string; readonly effect: string }[];
  readonly quotas: readonly ExplainedQuota[];
  readonly outcome: ExplainedOutcome;
}

export interface TriedMatch {
  readonly route: string;
  /** Index into the route's matches; undefined: it has none and takes everything. */
  readonly match: number | undefined;
  readonly verdict: "matches" | "fails";
  /** The first condition that does not hold. */
  readonly why: string | undefined;
}

export interface ExplainedQuota {
  readonly id: string;
  readonly mode: "enforce" | "shadow";
  readonly applies: boolean;
  /** Why it does not apply, or what it does about a missing key. */
  readonly note: string | undefined;
  /** Key that the request is counted under; "": one counter for all. */
  readonly key: string | undefined;
  readonly cost: number;
  readonly limits: readonly { readonly name: string; readonly amount: number; readonly perMs: number; readonly window: string }[];
}

/** What comes of the request. */
export type ExplainedOutcome =
  | { readonly kind: "refused"; readonly reason: string }
  | {
      readonly kind: "answered";
      readonly by: "last-hop" | "https-redirect" | "cors" | "redirect" | "direct";
      readonly status: number;
      readonly location?: string;
    }
  | {
      readonly kind: "forwarded";
      readonly destinations: readonly ExplainedDestination[];
      readonly timeoutMs: number | undefined;
      readonly retry:
        | { readonly attempts: number; readonly perTryTimeoutMs: number | undefined; readonly on: readonly string[] }
        | undefined;
      readonly mirrors: readonly { readonly cluster: string; readonly percent: number }[];
    };

export interface ExplainedDestination {
  readonly cluster: string;
  /** Of 1. */
  readonly share: number;
  readonly endpoints: readonly string[];
  /** Why nothing can be sent there. */
  readonly problem: string | undefined;
  /** What the origin would get. */
  readonly head: RequestHead;
}

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
      tried: virtualHost === undefined ? [] : this.#tried(virtualHost, found),
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
    const context = { ...this.#forwardContext(), match };
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
    const connectionOptions = fieldJoined(fields, "connection")
      ?.split(",")
      .map((option) => option.trim().toLowerCase());
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

  // Why this route and none before it.

  #tried(virtualHost: CompiledVirtualHost, found: Candidate<CompiledRoute> | undefined): readonly TriedMatch[] {
    const all = candidatesOf(virtualHost.index).sort((a, b) => a.order - b.order);
    return all
      .filter(({ order }) => found === undefined || order <= found.order)
      .map(({ route, match }) => {
        const condition = match === undefined ? undefined : failedCondition(match, this);
        return {
          route: route.source.id,
          match: match === undefined ? undefined : route.source.matches.indexOf(match.source),
          verdict: condition === undefined ? "matches" : "fails",
          why: condition === undefined || match === undefined ? undefined : this.#why(condition, match),
        };
      });
  }

  #why(condition: Condition, match: NonNullable<Candidate<CompiledRoute>["match"]>): string {
    switch (condition) {
      case "path":
      case "method":
      case "scheme":
      case "authority":
        return `${condition} ${JSON.stringify(this[condition])} is not ${describe(match[condition])}`;
      case "port":
        return `the listener's service port is ${this.servicePort}, not ${match.port}`;
      case "headers": {
        const test = match.headers.find((header) => !testHeader(header, this.fields));
        return whyField("header", test, test && fieldJoined(this.fields, test.name));
      }
      case "query": {
        const test = match.query.find((parameter) => !testQuery(parameter, this.query));
        return whyField("query parameter", test, test && queryValue(this.query, test.name));
      }
      default:
        return unreachable(condition);
    }
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

function candidatesOf<R>(node: PathNode<R>): Candidate<R>[] {
  return [...node.candidates, ...[...(node.children?.values() ?? [])].flatMap((child) => candidatesOf(child))];
}

function whyField(what: string, test: FieldTest | undefined, value: string | undefined): string {
  if (test === undefined) return `a ${what} does not match`;
  const is = value === undefined ? "is absent" : `is ${JSON.stringify(value)}`;
  return `${what} ${test.name} ${is}, ${test.invert ? "and must not be" : "not"} ${describe(test.test)}`;
}

function describe(test: StringTest | undefined): string {
  if (test === undefined) return "anything";
  if (test.kind === "present") return "present";
  const value = test.kind === "regex" ? test.value : JSON.stringify(test.value);
  return `${test.kind} ${value}${test.ignoreCase ? " (any case)" : ""}`;
}

function pick<T, K extends keyof T>(from: T, ...keys: readonly K[]): Pick<T, K> {
  const picked = {} as Pick<T, K>;
  for (const key of keys) picked[key] = from[key];
  return picked;
}
