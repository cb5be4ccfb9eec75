/** `loadBalancer` of a traffic policy: its schema, and what does not go together in it. */
import { z } from "zod";
import { DECODE_LIMITS } from "../../../../gateway/core/ir/index.ts";
import type { Finding } from "../kind.ts";
import { duration, percentNumber, uint32 } from "../scalars.ts";

const simpleBalancer = z
  .enum(["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"])
  .meta({ description: "Default LEAST_REQUEST, which LEAST_CONN is an old word for" })
  .transform((name) => (name === "LEAST_CONN" || name === "UNSPECIFIED" ? ("LEAST_REQUEST" as const) : name));

const tableSize = z.int().min(0).max(DECODE_LIMITS.hashTableSize);

const consistentHash = z.strictObject({
  httpHeaderName: z.string().min(1).optional(),
  httpCookie: z
    .strictObject({
      name: z.string().min(1),
      path: z.string().optional(),
      ttl: duration({ min: 0 })
        .optional()
        .meta({ description: "A cookie that is absent is set for this long, 0s: for the session; without it, it is not set" }),
      attributes: z.array(z.strictObject({ name: z.string().min(1), value: z.string().optional() })).default([]),
    })
    .optional(),
  useSourceIp: z.boolean().optional(),
  httpQueryParameterName: z.string().min(1).optional(),
  ringHash: z
    .strictObject({ minimumRingSize: tableSize.default(1024) })
    .optional()
    .meta({ description: "How keys find endpoints, and the default: a ring of at least so many places" }),
  maglev: z
    .strictObject({ tableSize: tableSize.default(65_537).meta({ description: "A prime" }) })
    .optional()
    .meta({ description: "How keys find endpoints: a table, more even and faster than a ring" }),
  minimumRingSize: tableSize.optional().meta({ description: "Old spelling of ringHash.minimumRingSize" }),
});

const localityLbSetting = z.strictObject({
  distribute: z.array(z.strictObject({ from: z.string().min(1), to: z.record(z.string().min(1), uint32) })).default([]),
  failover: z.array(z.strictObject({ from: z.string().min(1), to: z.string().min(1) })).default([]),
  failoverPriority: z.array(z.string().min(1)).default([]),
  enabled: z.boolean().optional(),
  zoneAwareLbSetting: z.strictObject({ minClusterSize: uint32.default(6), enabled: z.boolean().optional() }).optional(),
});

export const loadBalancer = z.strictObject({
  simple: simpleBalancer.optional(),
  consistentHash: consistentHash.optional(),
  localityLbSetting: localityLbSetting.optional(),
  warmupDurationSecs: duration({ min: 0 }).optional().meta({ description: "Old spelling of warmup.duration" }),
  warmup: z
    .strictObject({
      duration: duration(),
      minimumPercent: percentNumber.default(10),
      aggression: z.number().min(1).max(1_000).default(1),
    })
    .optional(),
});
export type LoadBalancerSettings = z.output<typeof loadBalancer>;
type ConsistentHash = NonNullable<LoadBalancerSettings["consistentHash"]>;
type LocalitySettings = NonNullable<LoadBalancerSettings["localityLbSetting"]>;

type At = readonly (string | number)[];

export function checkLoadBalancer(
  { simple, consistentHash: hash, localityLbSetting: locality, warmup }: LoadBalancerSettings,
  at: At,
): Finding[] {
  const found: Finding[] = [];
  if (simple && hash)
    found.push({ path: [...at, "consistentHash"], message: "simple and consistentHash exclude one another; keep one of them" });
  if (hash) found.push(...checkHash(hash, [...at, "consistentHash"]));
  if (hash && warmup) {
    const message = "has no effect with consistentHash, where an endpoint has its keys at once; remove one of them";
    found.push({ path: [...at, "warmup"], message, severity: "warning" });
  }
  if (locality) found.push(...checkLocality(locality, [...at, "localityLbSetting"]));
  return found;
}

function checkHash(hash: ConsistentHash, at: At): Finding[] {
  const found: Finding[] = [];
  const keys = (["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"] as const).filter((name) => hash[name]);
  if (keys.length === 0)
    found.push({
      path: at,
      message: "says not what is hashed; add httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
    });
  if (keys.length > 1) found.push({ path: at, message: `${keys.join(" and ")} exclude one another; keep one of them` });
  if (hash.ringHash && hash.maglev)
    found.push({ path: [...at, "maglev"], message: "ringHash and maglev exclude one another; keep one of them" });
  const size = hash.maglev?.tableSize;
  if (size !== undefined && size !== 0 && !isPrime(size)) {
    found.push({ path: [...at, "maglev", "tableSize"], message: `${size} is not a prime; ${primeAfter(size)} is the next one` });
  }
  return found;
}

function primeAfter(size: number): number {
  let next = size + 1;
  while (!isPrime(next)) next++;
  return next;
}

function isPrime(number: number): boolean {
  if (number < 2) return false;
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false;
  return true;
}

function checkLocality({ distribute, failover, failoverPriority }: LocalitySettings, at: At): Finding[] {
  const found: Finding[] = [];
  if (distribute.length > 0 && (failover.length > 0 || failoverPriority.length > 0))
    found.push({ path: [...at, "distribute"], message: "distribute excludes failover and failoverPriority; keep one of them" });
  distribute.forEach(({ to }, index) => {
    const sum = Object.values(to).reduce((all, weight) => all + weight, 0);
    const path = [...at, "distribute", index, "to"];
    if (sum !== 100) found.push({ path, message: `the shares sum to ${sum}; they have to sum to 100` });
    for (const [locality, weight] of Object.entries(to))
      if (weight === 0) found.push({ path: [...path, locality], message: "a share of 0 is no share; leave the locality out" });
  });
  failover.forEach(({ from, to }, index) => {
    if (from === to)
      found.push({ path: [...at, "failover", index, "to"], message: `${from} fails over to itself; name another region` });
    for (const [name, region] of [
      ["from", from],
      ["to", to],
    ] as const)
      if (/[/*]/.test(region))
        found.push({
          path: [...at, "failover", index, name],
          message: `"${region}" is more than a region; write the region alone`,
        });
  });
  return found;
}
