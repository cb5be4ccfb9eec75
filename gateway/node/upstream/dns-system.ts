/** Asking the name servers and the system, as Node does it. */
import type { RecordWithTtl } from "node:dns";
import { lookup, NODATA, NOTFOUND, Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { type Answer, type Ask, SYSTEM_TTL_MS } from "./dns.ts";

/** One question to one name server. */
const SERVER_TIMEOUT_MS = 2_000;
const SERVER_TRIES = 2;

export interface SystemParts {
  /** Records of a name with seconds that they hold; throws as `Resolver` does. */
  readonly records: (name: string, family: 4 | 6) => Promise<readonly RecordWithTtl[]>;
  /** getaddrinfo. */
  readonly system: (name: string) => Promise<readonly string[]>;
  /** Names that the hosts file has. */
  readonly hosts: () => Promise<ReadonlySet<string>>;
  /** Families that this machine has an address of, other than on its loopback. */
  readonly families: () => ReadonlySet<4 | 6>;
}

export function systemAsk(parts: SystemParts): Ask {
  return async (name) => {
    if (!name.includes(".") || (await parts.hosts()).has(name)) {
      return { addresses: reachable(await parts.system(name), parts.families()), ttlMs: SYSTEM_TTL_MS };
    }
    return await askServers(name, parts);
  };
}

/** Both families at once; one that fails does not spoil the other. */
async function askServers(name: string, { records, families }: SystemParts): Promise<Answer> {
  const [four, six] = await Promise.allSettled([records(name, 4), records(name, 6)]);
  const found = [four, six].flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
  if (found.length === 0) throw new Error(whyNone(four, six));
  // Records come in any order, and that is no news.
  const addresses = found.map(({ address }) => address).sort();
  return { addresses: reachable(addresses, families()), ttlMs: Math.min(...found.map(({ ttl }) => ttl)) * 1000 };
}

/** What a failure was, rather than that there are no addresses of the other family. */
function whyNone(...outcomes: readonly PromiseSettledResult<unknown>[]): string {
  const reasons = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [codeOf(outcome.reason)] : []));
  return reasons.find((code) => code !== NODATA && code !== NOTFOUND) ?? reasons[0] ?? NODATA;
}

function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : String(error);
}

/** Without addresses of a family that the machine has none of (AI_ADDRCONFIG), unless nothing else is left. */
function reachable(addresses: readonly string[], families: ReadonlySet<4 | 6>): readonly string[] {
  const can = addresses.filter((address) => families.has(isIPv6(address) ? 6 : 4));
  return can.length === 0 ? addresses : can;
}

/** @param servers `IP` or `IP:port`; none: those that the system is set up with */
export function nodeParts(servers: readonly string[]): SystemParts {
  const resolver = new Resolver({ timeout: SERVER_TIMEOUT_MS, tries: SERVER_TRIES });
  if (servers.length > 0) resolver.setServers(servers);
  return {
    records: (name, family) => (family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true })),
    system: async (name) => {
      try {
        return (await lookup(name, { all: true })).map(({ address }) => address);
      } catch (error) {
        throw new Error(codeOf(error));
      }
    },
    hosts: () => readHosts(HOSTS_FILE),
    families: machineFamilies,
  };
}

const HOSTS_FILE = "/etc/hosts";
/** Whoever blocks ads by a hosts file has names enough; reading stops here. */
const MAX_HOSTS_BYTES = 4 * 1024 * 1024;

async function readHosts(path: string): Promise<ReadonlySet<string>> {
  try {
    return hostsNames((await readFile(path, "utf8")).slice(0, MAX_HOSTS_BYTES));
  } catch {
    return new Set();
  }
}

/** hosts(5): an address, then names; `#` begins a comment. */
export function hostsNames(text: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of text.split("\n")) {
    const [, ...listed] = line.replace(/#.*/, "").trim().split(/\s+/);
    for (const name of listed) names.add(name.toLowerCase());
  }
  return names;
}

function machineFamilies(): ReadonlySet<4 | 6> {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const own = addresses.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  return new Set(own.map(({ family }) => (family === "IPv6" ? 6 : 4)));
}
