/** The routes of one VirtualService, as bound to one table. */

import type { ForwardAction, Mirror, Route, RouteAction, RouteMatch, WeightedDestination } from "../../gateway/core/ir/index.ts";
import type { HttpMatch, HttpRoute } from "../config/index.ts";
import {
  authorityOf,
  corsPolicy,
  directAction,
  faultOf,
  headerFields,
  redirectAction,
  retryPolicy,
  rewriteOf,
} from "./actions.ts";
import type { Clusters } from "./clusters.ts";
import { matchesEverything, requestMatch } from "./match.ts";
import type { VirtualServiceResource } from "./objects.ts";
import type { QuotaTargets } from "./quota-targets.ts";
import { gatewayKeys } from "./scope.ts";
import type { Status } from "./status.ts";

export interface RouteContext {
  readonly clusters: Clusters;
  readonly quotas: QuotaTargets;
  readonly status: Status;
}

/** How a VirtualService came to a table. */
export interface Binding {
  readonly virtualService: VirtualServiceResource;
  /** Gateways (`namespace/name`) of the table that it is bound to. */
  readonly gateways: ReadonlySet<string>;
  readonly servicePort: number;
}

/** A route that still knows its object, for merging. */
export interface OwnedRoute {
  readonly route: Route;
  readonly owner: VirtualServiceResource;
  /** `spec.http[2]`. */
  readonly path: string;
}

/** In the object's order. What stands behind a route that takes everything is never reached, so it is left out. */
export function routesOf(binding: Binding, context: RouteContext): readonly OwnedRoute[] {
  const { virtualService } = binding;
  const found: OwnedRoute[] = [];
  let endedBy: string | undefined;
  virtualService.spec.http.forEach((http, index) => {
    const path = `spec.http[${index}]`;
    if (endedBy !== undefined) {
      context.status.report(
        "warning",
        virtualService,
        path,
        `is never reached: ${endedBy} takes every request; put it before that one`,
      );
      return;
    }
    const route = toRoute(binding, http, index, context);
    if (route === undefined) return;
    found.push({ route, owner: virtualService, path });
    if (takesEverything(route)) endedBy = path;
  });
  return found;
}

export function takesEverything(route: Route): boolean {
  return route.matches.length === 0 || route.matches.some(matchesEverything);
}

/** Undefined: nothing of it applies to this table. */
function toRoute(binding: Binding, http: HttpRoute, index: number, context: RouteContext): Route | undefined {
  const { virtualService } = binding;
  const path = `spec.http[${index}]`;
  const matches = matchesOf(binding, http, path, context);
  if (matches === undefined) return undefined;
  const action = actionOf(binding, http, path, context);
  const { namespace, name } = virtualService.metadata;
  const fault = faultOf(http.fault);
  return {
    id: `${namespace}/${name}/${routeLabel(http, index)}`,
    ...(http.name === "" ? {} : { name: http.name }),
    origin: { kind: virtualService.kind, namespace, name, path },
    matches,
    action: action.action,
    ...headerFields(http.headers),
    ...(http.corsPolicy === undefined ? {} : { cors: corsPolicy(http.corsPolicy) }),
    ...(fault === undefined ? {} : { fault }),
    quotas: context.quotas.ofRoute(virtualService, http.name, action.services),
  };
}

/** Names are unique within an object. One that is a number could be taken for another route's index. */
function routeLabel(http: HttpRoute, index: number): string {
  return http.name === "" || /^\d+$/.test(http.name) ? String(index) : http.name;
}

/** Empty: everything. Undefined: no alternative is for this table. */
function matchesOf(binding: Binding, http: HttpRoute, path: string, context: RouteContext): readonly RouteMatch[] | undefined {
  if (http.match.length === 0) return [];
  const kept: RouteMatch[] = [];
  http.match.forEach((match, index) => {
    if (!appliesHere(binding, match)) return;
    const translated = requestMatch(match);
    if ("match" in translated) kept.push(translated.match);
    else {
      const message = `${translated.unsupported}; this alternative is left out`;
      context.status.report("unsupported", binding.virtualService, `${path}.match[${index}]`, message);
    }
  });
  return kept.length === 0 ? undefined : kept;
}

/** Port and `gateways` of a match are settled here: they say where it applies. */
function appliesHere(binding: Binding, match: HttpMatch): boolean {
  if (match.port !== undefined && match.port !== binding.servicePort) return false;
  if (match.gateways.length === 0) return true;
  const wanted = gatewayKeys(match.gateways, binding.virtualService);
  return [...binding.gateways].some((gateway) => wanted.has(gateway));
}

/** The action, and the services it forwards to. */
interface TranslatedAction {
  readonly action: RouteAction;
  readonly services: readonly string[];
}

function actionOf(binding: Binding, http: HttpRoute, path: string, context: RouteContext): TranslatedAction {
  if (http.redirect !== undefined) return { action: redirectAction(http.redirect), services: [] };
  if (http.directResponse !== undefined) return { action: directAction(http.directResponse), services: [] };
  return forwardAction(binding, http, path, context);
}

function forwardAction(binding: Binding, http: HttpRoute, path: string, context: RouteContext): TranslatedAction {
  const { virtualService, servicePort } = binding;
  const { clusters } = context;
  const rewrite = rewriteOf(http.rewrite, http.headers);
  const services: string[] = [];
  const destinations: WeightedDestination[] = [];
  http.route.forEach((weighted, index) => {
    if (weighted.weight === 0) return;
    const authority = authorityOf(weighted.headers);
    const target = clusters.target(weighted.destination, {
      owner: virtualService,
      path: `${path}.route[${index}].destination`,
      servicePort,
      authority: authority ?? rewrite?.authority,
    });
    services.push(target.host);
    destinations.push({
      cluster: target.cluster,
      weight: weighted.weight,
      ...(authority === undefined ? {} : { authority }),
      ...headerFields(weighted.headers),
    });
  });
  const action: ForwardAction = {
    kind: "forward",
    destinations,
    ...(rewrite === undefined ? {} : { rewrite }),
    ...(http.timeout === undefined || http.timeout === 0 ? {} : { timeoutMs: http.timeout }),
    retry: retryPolicy(http.retries),
    mirrors: mirrorsOf(binding, http, path, rewrite?.authority, clusters),
  };
  return { action, services: [...new Set(services)] };
}

function mirrorsOf(
  { virtualService: owner, servicePort }: Binding,
  http: HttpRoute,
  path: string,
  authority: string | undefined,
  clusters: Clusters,
): readonly Mirror[] {
  return http.mirrors.flatMap(({ destination, percentage }, index) => {
    if (percentage === 0) return [];
    const target = clusters.target(destination, { owner, path: `${path}.mirrors[${index}]`, servicePort, authority });
    return [{ cluster: target.cluster, percent: percentage }];
  });
}
