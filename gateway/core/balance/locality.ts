/**
 * Where endpoints are, seen from the gateway: which level of priority each is in, and which share its place has. Settled when a snapshot is
 * compiled; health only moves load between levels and places.
 */
import type { Endpoint, LocalityPolicy } from "../ir/index.ts";
import { unreachable } from "../result.ts";

export interface Place {
  /** 0 is taken first. */
  readonly level: number;
  /** Endpoints of one level in one group share the group's weight. */
  readonly group: string;
  readonly groupWeight: number;
}

const EVERYWHERE: Place = { level: 0, group: "", groupWeight: 1 };

/** One place per endpoint; undefined: nothing is sent there. */
export function placesOf(
  policy: LocalityPolicy | undefined,
  endpoints: readonly Endpoint[],
  own: string | undefined,
): readonly (Place | undefined)[] {
  switch (policy?.kind) {
    case undefined:
      return endpoints.map(() => EVERYWHERE);
    case "distribute":
      return distributed(policy, endpoints, own);
    case "failover":
      return dense(own === undefined ? endpoints.map(() => 0) : endpoints.map(({ locality }) => distance(policy, locality, own)));
    case "failover-priority":
      return dense(endpoints.map((endpoint) => unmatched(policy, endpoint, own)));
    default:
      return unreachable(policy);
  }
}

/** Levels without gaps: an empty level would have to be passed over by every request. */
function dense(levels: readonly number[]): readonly Place[] {
  const used = [...new Set(levels)].sort((a, b) => a - b);
  return levels.map((level) => ({ ...EVERYWHERE, level: used.indexOf(level) }));
}

type Distribute = Extract<LocalityPolicy, { readonly kind: "distribute" }>;
type Failover = Extract<LocalityPolicy, { readonly kind: "failover" }>;
type FailoverPriority = Extract<LocalityPolicy, { readonly kind: "failover-priority" }>;

function distributed(
  { rules }: Distribute,
  endpoints: readonly Endpoint[],
  own: string | undefined,
): readonly (Place | undefined)[] {
  const rule = own === undefined ? undefined : rules.find(({ from }) => takes(from, own));
  if (rule === undefined) return endpoints.map(() => EVERYWHERE);
  // Where two patterns take one locality, the one that says more holds.
  const to = [...rule.to].sort(([a], [b]) => wildcards(a) - wildcards(b));
  return endpoints.map(({ locality = "" }) => {
    const found = to.find(([pattern]) => takes(pattern, locality));
    return found === undefined ? undefined : { level: 0, group: found[0], groupWeight: found[1] };
  });
}

/** 0: same subzone, 1: same zone, 2: same region, 3: a region to fail over to, 4: any other. */
function distance({ regions }: Failover, locality: string | undefined, own: string): number {
  const [region = "", zone = "", subzone = ""] = own.split("/");
  const [otherRegion = "", otherZone = "", otherSubzone = ""] = (locality ?? "").split("/");
  if (region === otherRegion) {
    if (zone !== otherZone) return 2;
    return subzone === otherSubzone ? 0 : 1;
  }
  return regions.some(([from, to]) => from === region && to === otherRegion) ? 3 : 4;
}

/** How many labels are left when they are compared in order up to the first that differs. */
function unmatched({ labels }: FailoverPriority, endpoint: Endpoint, own: string | undefined): number {
  const first = labels.findIndex(({ name, value }) => {
    const wanted = value ?? localityLabel(name, own);
    return (
      wanted === undefined ||
      wanted !== (endpoint.labels?.find(([label]) => label === name)?.[1] ?? localityLabel(name, endpoint.locality))
    );
  });
  return first === -1 ? 0 : labels.length - first;
}

/** Labels that a locality stands for. */
const LOCALITY_LABELS: ReadonlyMap<string, number> = new Map([
  ["topology.kubernetes.io/region", 0],
  ["topology.kubernetes.io/zone", 1],
  ["topology.istio.io/subzone", 2],
]);

function localityLabel(name: string, locality: string | undefined): string | undefined {
  const part = LOCALITY_LABELS.get(name);
  return part === undefined ? undefined : locality?.split("/")[part] || undefined;
}

/** Whether a pattern such as `region/zone/*`, `region` or `*` takes a locality; parts that it leaves out take any. */
export function takes(pattern: string, locality: string): boolean {
  const parts = locality.split("/");
  return pattern.split("/").every((part, i) => part === "*" || part === "" || part === parts[i]);
}

function wildcards(pattern: string): number {
  return 3 - pattern.split("/").filter((part) => part !== "*" && part !== "").length;
}
