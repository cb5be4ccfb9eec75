/** Health as a runtime handles it: the endpoints of the tables in force, what is known about them, and what somebody else has found out. */
import type { ClusterMap, CompiledCluster } from "../compile/clusters.ts";
import type { UpstreamEndpoint } from "../step.ts";
import { stateOf } from "./cluster-health.ts";
import type { EndpointState, HealthEvent } from "./endpoint.ts";

interface InForce {
  readonly clusters: ClusterMap;
}

/** To be called when tables come into force, and now and then: endpoints that came or left, and what time has changed. */
export function refreshHealth({ clusters }: InForce, nowMs: number): void {
  for (const { managed } of clusters.values()) managed?.refresh(nowMs);
}

/** What the checker or another thread says about an endpoint. Nobody's endpoint (any more): nothing happens. */
export function applyHealth({ clusters }: InForce, cluster: string, key: string, event: HealthEvent, nowMs: number): void {
  const found = clusters.get(cluster);
  const endpoint = found === undefined ? undefined : endpointsOf(found).find((one) => one.key === key);
  if (endpoint !== undefined) found?.state.health.apply(endpoint, event, nowMs, false);
}

export interface EndpointView {
  readonly cluster: string;
  readonly address: string;
  readonly port: number;
  /** The name that the address was resolved from. */
  readonly hostname: string | undefined;
  readonly locality: string | undefined;
  readonly weight: number;
  readonly state: EndpointState["kind"];
  /** Why it is ejected or unhealthy. */
  readonly reason: string | undefined;
  /** How long it has been in that state, milliseconds; undefined: always. */
  readonly forMs: number | undefined;
  /** How long it is to stay ejected. */
  readonly leftMs: number | undefined;
  /** Requests in flight to it. */
  readonly active: number;
  /** Its state, its address or its place can be another than the snapshot says. */
  readonly isWatched: boolean;
}

export function endpointViews({ clusters }: InForce, nowMs: number): readonly EndpointView[] {
  return [...clusters.values()].flatMap((cluster) => clusterViews(cluster, nowMs));
}

function clusterViews({ source, managed, endpoints, endpointSource }: CompiledCluster, nowMs: number): readonly EndpointView[] {
  managed?.refresh(nowMs);
  const view = (endpoint: UpstreamEndpoint, weight: number, locality: string | undefined): EndpointView => {
    // What was known when somebody still judged it does not count any more.
    const state: EndpointState = managed === undefined ? { kind: "healthy" } : stateOf(endpoint);
    return {
      cluster: source.name,
      address: endpoint.address,
      port: endpoint.port,
      hostname: endpoint.hostname,
      locality,
      weight,
      state: state.kind,
      reason: state.kind === "ejected" || state.kind === "unhealthy" ? state.reason : undefined,
      forMs: managed === undefined || endpoint.health === undefined ? undefined : nowMs - endpoint.health.sinceMs,
      leftMs: state.kind === "ejected" ? Math.max(0, state.untilMs - nowMs) : undefined,
      active: endpoint.active,
      isWatched: managed !== undefined,
    };
  };
  if (managed !== undefined)
    return managed.members.map(({ target, weight, locality }) => view(target.endpoint, weight, locality));
  return endpoints.map((endpoint, i) =>
    view(endpoint, endpointSource[i]?.weight ?? endpoint.weight, endpointSource[i]?.locality),
  );
}

function endpointsOf({ managed, endpoints }: CompiledCluster): readonly UpstreamEndpoint[] {
  return managed === undefined ? endpoints : managed.members.map(({ target }) => target.endpoint);
}
