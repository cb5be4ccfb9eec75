/**
 * How a gateway process is set up: a file, then `TIDEGATE_*` from the environment, then flags; what comes later wins.
 * Every problem is told at once, with where the value came from.
 */
import { isIP } from "node:net";
import { hostname } from "node:os";
import { DEFAULT_BANK_DEADLINE_MS, MAX_LANES } from "../core/index.ts";
import { fail, type Issue, ok, type Result } from "../core/result.ts";
import { DEFAULT_THREAD_HANG_MS } from "./hang-watch.ts";
import { DEFAULT_OVERLOAD_LIMITS } from "./overload.ts";

export interface GatewaySettings {
  /** Pool whose snapshots this gateway runs, as it tells people. */
  readonly pool: string;
  readonly gatewayId: string;
  /** `host:port` of the control plane; undefined: the snapshot comes from `snapshot`. */
  readonly control: string | undefined;
  /** Snapshot file to run without a control plane. */
  readonly snapshot: string | undefined;
  /** Directory for what has to survive a restart, and where the next process finds this one; undefined: it keeps nothing, and nothing follows it. */
  readonly state: string | undefined;
  /** Directory of certificates, and of credentials that egress rules add to requests: `<namespace>/<name>/<key>`. */
  readonly secrets: string;
  readonly joinTokenFile: string | undefined;
  /** Holds the token for the bank of global quotas; undefined: they are counted by onStoreFailure. */
  readonly bankTokenFile: string | undefined;
  /** Longest that a request waits for units of a global quota. */
  readonly bankDeadlineMs: number;
  readonly threads: number;
  /** Where the gateway is, `region/zone/subzone`; undefined: as its snapshots say. */
  readonly locality: string | undefined;
  /** Asked for the names of endpoints; none: those that the system is set up with. */
  readonly nameServers: readonly string[];
  /** Most heap of one thread, where there are several; a thread that needs more dies and is replaced. Undefined: V8 decides. */
  readonly threadHeapMb: number | undefined;
  /** One of several threads that takes no turn for so long is replaced; 0: never. */
  readonly threadHangMs: number;
  /** Client connections; what comes beyond is refused with 503, and beyond a quarter more closed. */
  readonly maxConnections: number;
  /** Requests at once, tunnels included; what comes beyond is refused with 503. */
  readonly maxRequests: number;
  /** Resident memory of the process that it should not come near to. Undefined: what its control group allows, or the machine has. */
  readonly maxMemoryMb: number | undefined;
  /** How late the event loop may be before less is taken on; 0: any. */
  readonly maxDelayMs: number;
  /** Edge sites to keep tunnels to: `wss://<host>`, without path. */
  readonly tunnel: readonly string[];
  readonly tunnelTokenFile: string | undefined;
  /** To each of them. */
  readonly tunnelConnections: number;
  /** Always on loopback. */
  readonly adminPort: number;
  readonly metricsAddress: string;
  readonly metricsPort: number;
  readonly readinessAddress: string;
  readonly readinessPort: number;
}

interface Setting {
  readonly name: keyof GatewaySettings | "settings";
  /** `list`: given several times, or with commas between. */
  readonly value: "text" | "list" | "number";
  readonly placeholder: string;
  readonly help: string;
}

const SETTINGS: readonly Setting[] = [
  { name: "settings", value: "text", placeholder: "FILE", help: "read settings from this YAML or JSON file first" },
  { name: "pool", value: "text", placeholder: "NAME", help: "pool of gateways it belongs to (ingress)" },
  { name: "gatewayId", value: "text", placeholder: "ID", help: "name of this gateway (pool and host name)" },
  { name: "control", value: "text", placeholder: "HOST:PORT", help: "control plane to follow (127.0.0.1:15012)" },
  { name: "snapshot", value: "text", placeholder: "FILE", help: "run this snapshot file, without a control plane" },
  {
    name: "state",
    value: "text",
    placeholder: "DIR",
    help: "where the last good snapshot is kept and the next process takes over (.tidegate/<gateway id>; none with --snapshot)",
  },
  {
    name: "secrets",
    value: "text",
    placeholder: "DIR",
    help: "certificates and credentials: <namespace>/<name>/<key> (<state>/secrets)",
  },
  { name: "joinTokenFile", value: "text", placeholder: "FILE", help: "join token to enrol with the first time" },
  { name: "bankTokenFile", value: "text", placeholder: "FILE", help: "token for the bank of global quotas" },
  { name: "bankDeadlineMs", value: "number", placeholder: "MS", help: "longest wait for a global quota (50)" },
  { name: "threads", value: "number", placeholder: "N", help: "worker threads (1)" },
  { name: "locality", value: "text", placeholder: "PLACE", help: "where it is, REGION[/ZONE[/SUBZONE]] (the pool's)" },
  {
    name: "nameServers",
    value: "list",
    placeholder: "IP[:PORT]",
    help: "to ask for endpoints' names (the system's); repeatable",
  },
  { name: "threadHeapMb", value: "number", placeholder: "MB", help: "most heap of one of several threads (by V8's own measure)" },
  {
    name: "threadHangMs",
    value: "number",
    placeholder: "MS",
    help: "replace one of several threads that takes no turn for so long (20000; 0: never)",
  },
  { name: "maxConnections", value: "number", placeholder: "N", help: "client connections (50000)" },
  { name: "maxRequests", value: "number", placeholder: "N", help: "requests at once (10000)" },
  {
    name: "maxMemoryMb",
    value: "number",
    placeholder: "MB",
    help: "memory of the process (its control group's, or the machine's)",
  },
  { name: "maxDelayMs", value: "number", placeholder: "MS", help: "lateness at which less is taken on; 0: never (1000)" },
  {
    name: "tunnel",
    value: "list",
    placeholder: "URL",
    help: "edge site to take requests from by a tunnel (wss://HOST); repeatable",
  },
  { name: "tunnelTokenFile", value: "text", placeholder: "FILE", help: "tunnel token of the edge sites" },
  { name: "tunnelConnections", value: "number", placeholder: "N", help: "connections to each edge site (2)" },
  { name: "adminPort", value: "number", placeholder: "PORT", help: "admin on loopback (15000; 0 picks a free port)" },
  { name: "metricsAddress", value: "text", placeholder: "IP", help: "address of the metrics port (127.0.0.1)" },
  { name: "metricsPort", value: "number", placeholder: "PORT", help: "Prometheus metrics (15090; 0 picks a free port)" },
  { name: "readinessAddress", value: "text", placeholder: "IP", help: "address of the readiness port (127.0.0.1)" },
  { name: "readinessPort", value: "number", placeholder: "PORT", help: "/healthz/ready (15021; 0 picks a free port)" },
];

/** Quotas know no more. */
const MAX_THREADS = MAX_LANES;
/** Below that a thread does not hold its own code and a snapshot of some size. */
const MIN_THREAD_HEAP_MB = 32;
const MAX_THREAD_HEAP_MB = 65_536;
const MAX_THREAD_HANG_MS = 3_600_000;
const MAX_LIMIT = 999_999;
/** A gateway with nothing to do takes more than half of it. */
const MIN_MEMORY_MB = 128;
/** Nobody should wait longer for a counter. */
const MAX_BANK_DEADLINE_MS = 2000;
/** Connections to one edge site. */
export const MAX_SITE_TUNNELS = 16;

/** Variables of the control plane, the command line and the project's tools: they may stand in the same shell. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set(
  ["API", "TOKEN", "CACHE", "CONFIG", "API_HOST", "API_PORT", "GRPC_HOST", "GRPC_PORT", "GRPC_NAMES", "LOG_FORMAT"].map(
    (name) => `TIDEGATE_${name}`,
  ),
);

type Values = Map<Setting["name"], { readonly text: string; readonly from: string }>;

export interface SettingsInput {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads and parses the settings file; throws what that throws. */
  readonly readFile: (path: string) => unknown;
}

/** Only then is there a file to read. */
export function hasSettingsFile({ argv, env }: Pick<SettingsInput, "argv" | "env">): boolean {
  return env["TIDEGATE_SETTINGS"] !== undefined || argv.some((arg) => arg === "--settings" || arg.startsWith("--settings="));
}

/** @returns "help" when that was asked for */
export function readSettings({ argv, env, readFile }: SettingsInput): Result<GatewaySettings | "help"> {
  if (argv.includes("--help") || argv.includes("-h")) return ok("help");
  const issues: Issue[] = [];
  const flags = readFlags(argv, issues);
  const environment = readEnvironment(env, issues);
  const path = (flags.get("settings") ?? environment.get("settings"))?.text;
  const file = path === undefined ? new Map() : readSettingsFile(path, readFile, issues);
  const values: Values = new Map([...file, ...environment, ...flags]);
  const settings = complete(values, issues);
  return issues.length > 0 ? fail(issues) : ok(settings);
}

export function usage(): string {
  const lines = SETTINGS.map(({ name, placeholder, help }) => `  ${`--${kebab(name)} ${placeholder}`.padEnd(28)}${help}`);
  return `Runs a Tidegate gateway.\n\n${lines.join("\n")}\n\nEach can be given as TIDEGATE_… too (TIDEGATE_ADMIN_PORT), or in the settings file (adminPort).\n`;
}

function readFlags(argv: readonly string[], issues: Issue[]): Values {
  const values: Values = new Map();
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] ?? "";
    const equals = arg.indexOf("=");
    const flag = equals === -1 ? arg : arg.slice(0, equals);
    const setting = SETTINGS.find(({ name }) => flag === `--${kebab(name)}`);
    if (setting === undefined) {
      issues.push({
        path: arg,
        problem: unknown(
          flag,
          SETTINGS.map(({ name }) => `--${kebab(name)}`),
          "flag",
        ),
      });
      if (flag.startsWith("--") && equals === -1 && argv[i + 1]?.startsWith("-") === false) i += 1;
      continue;
    }
    const text = equals === -1 ? argv[++i] : arg.slice(equals + 1);
    if (text === undefined) issues.push({ path: flag, problem: `needs a value: ${flag} ${setting.placeholder}` });
    else values.set(setting.name, { text: joined(setting, values.get(setting.name)?.text, text), from: flag });
  }
  return values;
}

/** What is given again replaces what was, but in a list. */
function joined({ value }: Setting, before: string | undefined, text: string): string {
  return value === "list" && before !== undefined ? `${before},${text}` : text;
}

function readEnvironment(env: SettingsInput["env"], issues: Issue[]): Values {
  const values: Values = new Map();
  const known = SETTINGS.map(({ name }) => screaming(name));
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith("TIDEGATE_") || text === undefined || OTHER_VARIABLES.has(name)) continue;
    const setting = SETTINGS[known.indexOf(name)];
    if (setting === undefined) issues.push({ path: name, problem: unknown(name, known, "variable") });
    else values.set(setting.name, { text, from: name });
  }
  return values;
}

function readSettingsFile(path: string, readFile: SettingsInput["readFile"], issues: Issue[]): Values {
  const values: Values = new Map();
  let content: unknown;
  try {
    content = readFile(path);
  } catch (error) {
    issues.push({ path, problem: error instanceof Error ? error.message : String(error) });
    return values;
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    issues.push({ path, problem: "has to be a mapping of setting to value" });
    return values;
  }
  for (const [name, value] of Object.entries(content)) {
    const setting = SETTINGS.find((one) => one.name === name && name !== "settings");
    const from = `${path}: ${name}`;
    if (setting === undefined)
      issues.push({
        path: from,
        problem: unknown(
          name,
          SETTINGS.map((one) => one.name),
          "setting",
        ),
      });
    else if (typeof value === "string" || typeof value === "number") values.set(setting.name, { text: String(value), from });
    else if (setting.value === "list" && Array.isArray(value) && value.every((item) => typeof item === "string"))
      values.set(setting.name, { text: value.join(","), from });
    else
      issues.push({ path: from, problem: setting.value === "list" ? "has to be a list of texts" : "has to be text or a number" });
  }
  return values;
}

function complete(values: Values, issues: Issue[]): GatewaySettings {
  const text = (name: Setting["name"]): string | undefined => {
    const found = values.get(name);
    if (found?.text !== "") return found?.text;
    issues.push({ path: found.from, problem: "is empty: leave it out or give a value" });
    return undefined;
  };
  const whole = <Default extends number | undefined>(
    name: Setting["name"],
    byDefault: Default,
    min: number,
    max: number,
  ): number | Default => {
    const found = values.get(name);
    if (found === undefined) return byDefault;
    const number = /^\d{1,6}$/.test(found.text) ? Number(found.text) : Number.NaN;
    if (number >= min && number <= max) return number;
    issues.push({ path: found.from, problem: `${JSON.stringify(found.text)} is not a whole number from ${min} to ${max}` });
    return byDefault;
  };
  const pool = text("pool") ?? "ingress";
  const gatewayId = text("gatewayId") ?? `${pool}-${hostname()}`;
  const snapshot = text("snapshot");
  const control = text("control");
  if (snapshot !== undefined && control !== undefined) {
    issues.push({
      path: values.get("snapshot")?.from ?? "",
      problem: "a snapshot file and a control plane exclude each other: give one of them",
    });
  }
  if (control !== undefined && !/^.+:\d{1,5}$/.test(control)) {
    issues.push({ path: values.get("control")?.from ?? "", problem: `${JSON.stringify(control)} is not HOST:PORT` });
  }
  const locality = text("locality");
  if (locality !== undefined && !/^[^/*\s]+(\/[^/*\s]+){0,2}$/.test(locality)) {
    issues.push({
      path: values.get("locality")?.from ?? "",
      problem: `${JSON.stringify(locality)} is not REGION[/ZONE[/SUBZONE]]`,
    });
  }
  const byDefault = `.tidegate/${gatewayId}`;
  const state = text("state") ?? (snapshot === undefined ? byDefault : undefined);
  return {
    pool,
    gatewayId,
    snapshot,
    control: control ?? (snapshot === undefined ? "127.0.0.1:15012" : undefined),
    state,
    secrets: text("secrets") ?? `${state ?? byDefault}/secrets`,
    joinTokenFile: text("joinTokenFile"),
    bankTokenFile: text("bankTokenFile"),
    bankDeadlineMs: whole("bankDeadlineMs", DEFAULT_BANK_DEADLINE_MS, 1, MAX_BANK_DEADLINE_MS),
    threads: whole("threads", 1, 1, MAX_THREADS),
    locality,
    nameServers: nameServers(text("nameServers"), values.get("nameServers")?.from ?? "", issues),
    threadHeapMb: whole("threadHeapMb", undefined, MIN_THREAD_HEAP_MB, MAX_THREAD_HEAP_MB),
    threadHangMs: whole("threadHangMs", DEFAULT_THREAD_HANG_MS, 0, MAX_THREAD_HANG_MS),
    maxConnections: whole("maxConnections", DEFAULT_OVERLOAD_LIMITS.maxConnections, 1, MAX_LIMIT),
    maxRequests: whole("maxRequests", DEFAULT_OVERLOAD_LIMITS.maxRequests, 1, MAX_LIMIT),
    maxMemoryMb: whole("maxMemoryMb", undefined, MIN_MEMORY_MB, MAX_LIMIT),
    maxDelayMs: whole("maxDelayMs", DEFAULT_OVERLOAD_LIMITS.maxDelayMs, 0, 60_000),
    tunnel: tunnelSites(text("tunnel"), text("tunnelTokenFile"), values.get("tunnel")?.from ?? "", issues),
    tunnelTokenFile: text("tunnelTokenFile"),
    tunnelConnections: whole("tunnelConnections", 2, 1, MAX_SITE_TUNNELS),
    adminPort: whole("adminPort", 15_000, 0, 65_535),
    metricsAddress: text("metricsAddress") ?? "127.0.0.1",
    metricsPort: whole("metricsPort", 15_090, 0, 65_535),
    readinessAddress: text("readinessAddress") ?? "127.0.0.1",
    readinessPort: whole("readinessPort", 15_021, 0, 65_535),
  };
}

function nameServers(list: string | undefined, from: string, issues: Issue[]): readonly string[] {
  const servers = (list ?? "").split(",").flatMap((item) => item.trim() || []);
  for (const server of servers) {
    const address =
      /^\[(.+)\](?::\d{1,5})?$/.exec(server)?.[1] ?? (isIP(server) === 6 ? server : server.replace(/:\d{1,5}$/, ""));
    if (isIP(address) === 0)
      issues.push({ path: from, problem: `${JSON.stringify(server)} is not IP or IP:PORT ([IP]:PORT for IPv6)` });
  }
  return servers;
}

/** A token goes over every connection, so it has to be under TLS, but on this machine. */
function tunnelSites(list: string | undefined, tokenFile: string | undefined, from: string, issues: Issue[]): readonly string[] {
  if (list === undefined) return [];
  if (tokenFile === undefined) issues.push({ path: from, problem: "needs the sites' tunnel token: give --tunnel-token-file" });
  return [...new Set(list.split(",").map((item) => item.trim()))].map((item) => {
    const url = URL.parse(item);
    const isSafe =
      url?.protocol === "wss:" || (url?.protocol === "ws:" && /^(127\.0\.0\.1|localhost|\[::1\])$/.test(url.hostname));
    if (url !== null && isSafe && url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "")
      return url.origin;
    issues.push({ path: from, problem: `${JSON.stringify(item)} is not wss://HOST[:PORT] (or ws:// on loopback)` });
    return item;
  });
}

function unknown(name: string, known: readonly string[], what: string): string {
  const near = known.map((one) => [distance(name, one), one] as const).sort((a, b) => a[0] - b[0])[0];
  const hint = near !== undefined && near[0] <= 3 ? `; did you mean ${near[1]}?` : "; --help lists all";
  return `there is no such ${what}${hint}`;
}

/** Levenshtein's. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const swap = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function screaming(name: string): string {
  return `TIDEGATE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}
