/**
 * Names to addresses for the egress gateway: the hosts file first, then getaddrinfo, once per decision.
 *
 * Names with a dot are looked up as they are, never with a search domain behind them: what was judged is what is resolved. Nothing is
 * remembered, so that the time to live is the name server's to choose; identical look-ups at the same moment share one.
 */
import { readFileSync, statSync } from "node:fs";
import { parseAddress, parseHost, type Resolution, type Resolver } from "../core/index.ts";

/** All addresses of a name; rejects with an error that has a `code`. */
export type Lookup = (name: string) => Promise<readonly string[]>;

export interface DnsResolverOptions {
  readonly lookup: Lookup;
  readonly hosts: HostsFile;
  /** Look-ups under way at once; one more fails at once. getaddrinfo blocks a thread each. Default 64. */
  readonly maxInFlight?: number;
}

export class DnsResolver implements Resolver {
  readonly #lookup: Lookup;
  readonly #hosts: HostsFile;
  readonly #maxInFlight: number;
  readonly #underWay = new Map<string, Promise<Resolution>>();

  constructor(options: DnsResolverOptions) {
    this.#lookup = options.lookup;
    this.#hosts = options.hosts;
    this.#maxInFlight = options.maxInFlight ?? 64;
  }

  resolve(host: string): Resolution | Promise<Resolution> {
    const written = this.#hosts.addresses(host);
    if (written !== undefined) return { kind: "found", addresses: written };
    const same = this.#underWay.get(host);
    if (same !== undefined) return same;
    if (this.#underWay.size >= this.#maxInFlight) return { kind: "failed", reason: "too many names are being resolved" };
    const resolution = this.#ask(host).finally(() => this.#underWay.delete(host));
    this.#underWay.set(host, resolution);
    return resolution;
  }

  async #ask(host: string): Promise<Resolution> {
    try {
      const addresses = await this.#lookup(host.includes(".") ? `${host}.` : host);
      return addresses.length === 0 ? { kind: "none", reason: "no addresses" } : { kind: "found", addresses };
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
      const unknown = code === "ENOTFOUND" || code === "ENODATA" || code === "EAI_NONAME";
      return unknown ? { kind: "none", reason: "no such name" } : { kind: "failed", reason: `look-up failed (${code})` };
    }
  }
}

/** The machine's hosts file (hosts(5)), read again when it changes. */
export class HostsFile {
  readonly #path: string;
  #stamp = "";
  #names: ReadonlyMap<string, readonly string[]> = new Map();

  constructor(path: string) {
    this.#path = path;
  }

  /** Addresses written down for a name, or undefined. A file that cannot be read has none. */
  addresses(name: string): readonly string[] | undefined {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    const stamp = stat === undefined ? "" : `${stat.ino}:${stat.mtimeMs}:${stat.size}`;
    if (stamp !== this.#stamp) {
      this.#stamp = stamp;
      this.#names = stat === undefined ? new Map() : parseHosts(readIfPossible(this.#path));
    }
    return this.#names.get(name);
  }
}

function readIfPossible(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Lines of `address name name… # comment`; an address or a name in any other than its canonical form is passed over. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address, ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (address === undefined || parseAddress(address) === undefined) continue;
    for (const alias of aliases) {
      const host = parseHost(alias);
      if (!host.ok || host.value.kind !== "name") continue;
      const known = names.get(alias);
      if (known === undefined) names.set(alias, [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return names;
}
