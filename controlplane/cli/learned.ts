/** Decisions of policies that learn → the EgressPolicy objects that would allow the same: one for each caller, one rule for each host and protocol. */
import { stringify } from "yaml";
import { type Learned, pathProblem } from "../../gateway/core/index.ts";

/** More different paths of one host are folded into the folder that holds them all. */
export const MAX_LEARNED_PATHS = 16;

interface Caller {
  readonly principal: { readonly proxyUser?: string; readonly edgeService?: string; readonly ipBlock?: string };
  readonly name: string;
  readonly seen: Map<string, Seen>;
}

/** What was asked of one host by one protocol. */
interface Seen {
  readonly host: string;
  readonly protocol: Learned["protocol"];
  readonly ports: Set<number>;
  readonly methods: Set<string>;
  readonly paths: Set<string>;
}

export class LearnedPolicies {
  readonly #callers = new Map<string, Caller>();
  readonly #namespace: string;
  #decisions = 0;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  /** Decisions taken in. */
  get decisions(): number {
    return this.#decisions;
  }

  /** Takes one line of a log; what is no decision of a policy that learns is passed over. */
  add(line: string): void {
    const decision = readDecision(line);
    const caller = decision && this.#callerOf(decision);
    if (decision === undefined || caller === undefined) return;
    this.#decisions += 1;
    const { host, port, protocol, method, path } = decision.learned;
    const key = `${protocol} ${host}`;
    let seen = caller.seen.get(key);
    if (seen === undefined) {
      seen = { host, protocol, ports: new Set(), methods: new Set(), paths: new Set() };
      caller.seen.set(key, seen);
    }
    seen.ports.add(port);
    if (method !== undefined) seen.methods.add(method);
    if (path !== undefined) seen.paths.add(path);
  }

  /** YAML, in an order that the log's has no part in. */
  toYaml(): string {
    const callers = [...this.#callers.values()].sort((a, b) => compare(a.name, b.name));
    const names = new Names(253);
    return callers
      .map((caller) => `${NOTE}${stringify(this.#policy(caller, names.take(`learned-${caller.name}`)))}`)
      .join("---\n");
  }

  #policy({ principal, seen }: Caller, name: string): object {
    const names = new Names(63);
    const sorted = [...seen.entries()].sort(([a], [b]) => compare(a, b)).map(([, value]) => value);
    return {
      apiVersion: "mesh.tidegate.dev/v1",
      kind: "EgressPolicy",
      metadata: { name, namespace: this.#namespace },
      spec: { from: [principal], allow: sorted.flatMap(rulesOf).map((rule) => ({ name: names.take(rule.hosts[0]), ...rule })) },
    };
  }

  #callerOf({ user, service, client }: Decision): Caller | undefined {
    const principal = principalOf(user, service, client);
    if (principal === undefined) return undefined;
    const key = JSON.stringify(principal);
    let caller = this.#callers.get(key);
    if (caller === undefined) {
      caller = { principal, name: user ?? service ?? client ?? "", seen: new Map() };
      this.#callers.set(key, caller);
    }
    return caller;
  }
}

const NOTE = "# Proposed from what passed while policies learned. Whether it should have is for you to say, rule by rule.\n";

interface Decision {
  readonly user: string | undefined;
  readonly service: string | undefined;
  readonly client: string | undefined;
  readonly learned: Learned;
}

function readDecision(line: string): Decision | undefined {
  // Most lines of a log are about something else: they are not parsed.
  if (!line.includes('"learned"')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isMap(value) || value["log"] !== "egress" || value["verdict"] !== "learn") return undefined;
  const learned = readLearned(value["learned"]);
  return learned && { user: text(value["user"]), service: text(value["service"]), client: text(value["client"]), learned };
}

function readLearned(value: unknown): Learned | undefined {
  if (!isMap(value)) return undefined;
  const { host, port, protocol, method, path } = value;
  if (typeof host !== "string" || typeof port !== "number") return undefined;
  if (protocol !== "http" && protocol !== "https" && protocol !== "tunnel") return undefined;
  return { host, port, protocol, method: text(method), path: text(path) };
}

/** The narrowest name of a caller: an address is only taken where nothing else was proved. */
function principalOf(
  user: string | undefined,
  service: string | undefined,
  client: string | undefined,
): Caller["principal"] | undefined {
  if (user !== undefined) return { proxyUser: user };
  if (service !== undefined) return { edgeService: service };
  if (client === undefined) return undefined;
  return { ipBlock: client.includes(":") ? `${client}/128` : `${client}/32` };
}

interface Rule {
  readonly hosts: readonly [string];
  readonly [field: string]: unknown;
}

function rulesOf({ host, protocol, ports, methods, paths }: Seen): readonly Rule[] {
  const all = [...ports].sort((a, b) => a - b);
  if (protocol === "tunnel") {
    // What such a tunnel carried was not looked at: TLS is the safe guess where TLS belongs, and no guess is made elsewhere.
    const others = all.filter((port) => port !== 443);
    return [
      ...(ports.has(443) ? [{ hosts: [host], ports: [443], protocol: "https" } as const] : []),
      ...(others.length > 0 ? [{ hosts: [host], ports: others, protocol: "tcp" } as const] : []),
    ];
  }
  const originate = protocol === "https" ? { originate: { tls: "SIMPLE" } } : {};
  const folded = foldPaths([...paths]);
  const listed = folded === undefined ? {} : { paths: folded };
  return [{ hosts: [host], ports: all, protocol, methods: [...methods].sort(compare), ...listed, ...originate }];
}

/** Undefined: paths cannot be listed, because one of them cannot be judged or they have nothing in common. */
function foldPaths(paths: readonly string[]): readonly string[] | undefined {
  if (paths.length === 0 || paths.some((path) => pathProblem(path) !== undefined || path.includes("*"))) return undefined;
  if (paths.length <= MAX_LEARNED_PATHS) return [...paths].sort(compare);
  const [first = "", ...rest] = paths;
  let length = first.length;
  for (const path of rest) while (!path.startsWith(first.slice(0, length))) length -= 1;
  const folder = first.slice(0, first.slice(0, length).lastIndexOf("/") + 1);
  return folder === "/" ? undefined : [`${folder}*`];
}

/** Names for objects and rules, each given once. */
class Names {
  readonly #taken = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  take(text: string): string {
    const plain = text
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .slice(0, this.#max - 4)
      .replace(/^-|-$/g, "");
    let name = plain;
    for (let i = 2; this.#taken.has(name); i++) name = `${plain}-${i}`;
    this.#taken.add(name);
    return name;
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
