/** The control plane's own settings: file, then `TIDEGATE_*`, then flags; every problem at once. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { DEFAULT_STATE, statePaths } from "./layout.ts";

export interface ControlPlaneSettings {
  readonly state: string;
  /** Directory of secrets, `<namespace>/<name>/<key>`. */
  readonly secrets: string;
  /** Directories of YAML. */
  readonly config: readonly string[];
  readonly apiHost: string;
  readonly apiPort: number;
  readonly grpcHost: string;
  readonly grpcPort: number;
  /** Names and addresses by which gateways dial in, for the server certificate. */
  readonly grpcNames: readonly string[];
  readonly logFormat: "json" | "readable" | "auto";
}

export type SettingsOutcome =
  | { readonly kind: "run"; readonly settings: ControlPlaneSettings }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "refused"; readonly problems: readonly string[] };

interface Setting {
  readonly flag: string;
  readonly env: string;
  readonly default: string;
  readonly help: string;
  /** May be given more than once; in the environment separated by commas. */
  readonly many?: true;
  readonly check: (text: string) => string | undefined;
}

const port = (text: string) =>
  /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? undefined : "a port is a whole number from 0 (any free one) to 65535";
const filled = (text: string) => (text === "" ? "must not be empty" : undefined);

const SETTINGS: Readonly<Record<keyof ControlPlaneSettings, Setting>> = {
  state: {
    flag: "state",
    env: "TIDEGATE_STATE",
    default: DEFAULT_STATE,
    help: "directory for keys, snapshots and the store",
    check: filled,
  },
  secrets: {
    flag: "secrets",
    env: "TIDEGATE_SECRETS",
    default: "",
    help: "directory of secrets, <namespace>/<name>/<key>; default <state>/secrets",
    check: filled,
  },
  config: {
    flag: "config",
    env: "TIDEGATE_CONFIG",
    default: "",
    help: "directory of YAML to watch; may be repeated",
    many: true,
    check: filled,
  },
  apiHost: { flag: "api-host", env: "TIDEGATE_API_HOST", default: "127.0.0.1", help: "address of the API", check: filled },
  apiPort: { flag: "api-port", env: "TIDEGATE_API_PORT", default: "15080", help: "port of the API", check: port },
  grpcHost: { flag: "grpc-host", env: "TIDEGATE_GRPC_HOST", default: "127.0.0.1", help: "address for gateways", check: filled },
  grpcPort: { flag: "grpc-port", env: "TIDEGATE_GRPC_PORT", default: "15012", help: "port for gateways", check: port },
  grpcNames: {
    flag: "grpc-name",
    env: "TIDEGATE_GRPC_NAMES",
    default: "localhost,127.0.0.1",
    help: "name or address by which gateways dial in; may be repeated",
    many: true,
    check: filled,
  },
  logFormat: {
    flag: "log-format",
    env: "TIDEGATE_LOG_FORMAT",
    default: "auto",
    help: "json, readable, or auto (readable on a terminal)",
    check: (text) => (["json", "readable", "auto"].includes(text) ? undefined : "must be json, readable or auto"),
  },
};

const FILE_FLAG = "settings";

export function readSettings(args: readonly string[], env: Readonly<Record<string, string | undefined>>): SettingsOutcome {
  const problems: string[] = [];
  const flags = readFlags(args, problems);
  if (flags["help"] !== undefined) return { kind: "help", text: helpText() };
  const file = readFile(flags[FILE_FLAG]?.[0] ?? env["TIDEGATE_SETTINGS"], problems);
  const chosen = Object.entries(SETTINGS).map(([name, setting]) => {
    const fromEnv = env[setting.env];
    const [place, values] = flags[setting.flag]
      ? [`--${setting.flag}`, flags[setting.flag] ?? []]
      : fromEnv !== undefined
        ? [setting.env, setting.many ? fromEnv.split(",") : [fromEnv]]
        : file.has(name)
          ? [`settings file: ${name}`, file.get(name) ?? []]
          : ["default", setting.default === "" ? [] : setting.many ? setting.default.split(",") : [setting.default]];
    if (values.length > 1 && setting.many === undefined) problems.push(`${place}: given more than once; keep one`);
    for (const value of values) {
      const problem = setting.check(value);
      if (problem !== undefined) problems.push(`${place}: ${value}: ${problem}`);
    }
    return [name, values] as const;
  });
  if (problems.length > 0) return { kind: "refused", problems };
  const get = (name: keyof ControlPlaneSettings) => chosen.find(([known]) => known === name)?.[1] ?? [];
  const logFormat = get("logFormat")[0];
  const state = get("state")[0] ?? DEFAULT_STATE;
  return {
    kind: "run",
    settings: {
      state,
      secrets: get("secrets")[0] ?? statePaths(state).secrets,
      config: get("config"),
      apiHost: get("apiHost")[0] ?? "127.0.0.1",
      apiPort: Number(get("apiPort")[0]),
      grpcHost: get("grpcHost")[0] ?? "127.0.0.1",
      grpcPort: Number(get("grpcPort")[0]),
      grpcNames: get("grpcNames"),
      logFormat: logFormat === "json" || logFormat === "readable" ? logFormat : "auto",
    },
  };
}

function readFlags(args: readonly string[], problems: string[]): Record<string, string[]> {
  const known = [...Object.values(SETTINGS).map(({ flag }) => flag), FILE_FLAG];
  const options = Object.fromEntries(known.map((flag) => [flag, { type: "string" as const, multiple: true as const }]));
  const { tokens } = parseArgs({
    args: [...args],
    options: { ...options, help: { type: "boolean", short: "h" } },
    strict: false,
    tokens: true,
  });
  const found: Record<string, string[]> = {};
  for (const [index, token] of tokens.entries()) {
    const before = tokens[index - 1];
    // What stands behind an unknown flag is its value.
    const explained = before?.kind === "option" && before.value === undefined && before.name !== "help";
    if (token.kind === "positional" && !explained)
      problems.push(`${token.value}: no argument is expected here; settings are flags (--help lists them)`);
    if (token.kind !== "option") continue;
    if (token.name === "help") found["help"] = [];
    else if (!known.includes(token.name)) problems.push(`${token.rawName}: unknown flag; --help lists what there is`);
    else if (token.value === undefined) problems.push(`${token.rawName}: a value is missing`);
    else found[token.name] = [...(found[token.name] ?? []), token.value];
  }
  return found;
}

/** A JSON object with the settings' names; lists for what may be repeated. */
function readFile(path: string | undefined, problems: string[]): ReadonlyMap<string, readonly string[]> {
  if (path === undefined) return new Map();
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
      throw new Error("a settings file is one JSON object");
    return new Map(
      Object.entries(parsed).flatMap(([name, value]) => {
        if (Object.hasOwn(SETTINGS, name)) return [[name, (Array.isArray(value) ? value : [value]).map(String)]];
        problems.push(`${path}: ${name}: unknown setting; known: ${Object.keys(SETTINGS).join(", ")}`);
        return [];
      }),
    );
  } catch (error) {
    problems.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    return new Map();
  }
}

function helpText(): string {
  const lines = Object.values(SETTINGS).map(
    ({ flag, env, default: fallback, help }) =>
      `  --${flag.padEnd(12)} ${help} (${env}${fallback === "" ? "" : `; default ${fallback}`})`,
  );
  return `Tidegate control plane

Usage: node controlplane/main.ts [flags]

${lines.join("\n")}
  --${FILE_FLAG.padEnd(12)} JSON file with any of these (TIDEGATE_SETTINGS)

Example: node controlplane/main.ts --config samples/bookinfo/mesh --state .tidegate/control
`;
}
