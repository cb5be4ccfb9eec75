/** docs/reference.md, made from the schemas, the list of what does not work yet, the settings and the limits: it says what the code does. */
import { MAX_API_BODY_BYTES, MAX_APPLY_DOCUMENTS, MAX_WAIT_MS } from "../../controlplane/api/server.ts";
import { PARSE_LIMITS } from "../../controlplane/config/documents.ts";
import { KINDS, type KindName } from "../../controlplane/config/kinds/index.ts";
import { MAX_DIRECT_BODY_BYTES } from "../../controlplane/config/kinds/istio/virtual-service.ts";
import { MAX_ORIGIN_LENGTH } from "../../controlplane/config/kinds/native/edge-site.ts";
import { MAX_REGEX_LENGTH } from "../../controlplane/config/kinds/scalars.ts";
import { type JsonSchema, objectSchema } from "../../controlplane/config/schema.ts";
import { DIRECTORY_LIMITS } from "../../controlplane/config/sources/directory.ts";
import { MAX_HISTORY_ROWS } from "../../controlplane/config/sqlite.ts";
import { UNSUPPORTED, type UnsupportedRule } from "../../controlplane/config/unsupported.ts";
import { MAX_FETCH_HASHES, MAX_MESSAGE_BYTES, MAX_REQUEST_MESSAGE_BYTES } from "../../controlplane/distribute/grpc.ts";
import { MAX_PROXY_USERS } from "../../controlplane/proxy-users.ts";
import { MAX_SECRET_BYTES } from "../../controlplane/secrets.ts";
import { readSettings } from "../../controlplane/settings.ts";
import { MAX_KID_LENGTH } from "../../controlplane/site-keys.ts";
import {
  MAX_EDGE_CHUNK_BYTES,
  MAX_EDGE_CHUNKS,
  MAX_EDGE_MANIFEST_BYTES,
  MAX_EDGE_TOTAL_BYTES,
} from "../../controlplane/snapshot/size.ts";
import { MAX_PASSPORT_ISSUERS } from "../../controlplane/translate/sites.ts";
import { MAX_CREDENTIAL_LENGTH } from "../../gateway/core/egress/credentials.ts";
import { MAX_ANSWERS } from "../../gateway/core/egress/decide.ts";
import { MAX_SECRET_LENGTH } from "../../gateway/core/egress/inject.ts";
import { MAX_LABEL_LENGTH, MAX_NAME_LENGTH } from "../../gateway/core/egress/name.ts";
import { DEFAULT_EGRESS_LIMITS } from "../../gateway/core/egress/ports.ts";
import { MAX_JOIN_TOKEN_CHARS } from "../../gateway/core/identity/join-token.ts";
import { MAX_PASSPORT_SKEW_S, MAX_PASSPORT_TTL_S } from "../../gateway/core/identity/passport.ts";
import {
  MAX_PASSPORT_CHARS,
  MAX_PASSPORT_CLAIMS,
  MAX_PASSPORT_ID_CHARS,
  MAX_PASSPORT_NAME_CHARS,
  MAX_PASSPORT_QUOTAS,
} from "../../gateway/core/identity/passport-claims.ts";
import { DEFAULT_SETTINGS, DEFAULT_SNAPSHOT_LIMITS } from "../../gateway/core/ir/index.ts";
import { MAX_PLAIN_KEY_CHARS } from "../../gateway/core/quota/key.ts";
import * as TUNNEL_LIMITS from "../../gateway/core/tunnel/limits.ts";
import * as HUB_LIMITS from "../../gateway/edge/tunnel-limits.ts";
import { MAX_STATE_FILE_BYTES } from "../../gateway/node/control-store.ts";
import { MAX_SCRYPT_MEMORY_BYTES, MAX_SCRYPT_N } from "../../gateway/node/egress-auth.ts";
import { MAX_PENDING_BYTES } from "../../gateway/node/log-file.ts";
import { DEFAULT_QUOTA_MEMORY_BYTES } from "../../gateway/node/quota.ts";
import { MAX_REMEMBERED_PASSPORTS } from "../../gateway/node/replay.ts";
import { MAX_SITE_TUNNELS, usage } from "../../gateway/node/settings.ts";
import { DEFAULT_CLIENT_HELLO_LIMITS } from "../../gateway/wire/client-hello.ts";
import { DEFAULT_HTTP1_LIMITS } from "../../gateway/wire/http1/limits.ts";

export function referencePage(): string {
  return `# Configuration reference

Made from the code (\`UPDATE_DOCS=1 npx vitest run --project integration test/integration/docs.test.ts\`), so it says what the code does.

Durations are written \`250ms\`, \`10s\`, \`1m\`, \`1h\`, \`1d\`; sizes \`64KiB\`, \`10MiB\` or a number of bytes. An unknown field is an error; the message
names the nearest known one. \`[]\` is a list, \`{}\` a map with free keys. **Not yet** marks what validates and does not work: the
object's status says \`not supported yet\`, and either the part is left out or the object is refused, as noted.

${KINDS.map(kindSection).join("\n")}
## Settings of the control plane

\`\`\`text
${controlPlaneHelp()}
\`\`\`

## Settings of a gateway

\`\`\`text
${usage().trim()}
\`\`\`

## Limits

What is beyond a limit is refused with a message that names it.

${limitTables()}`;
}

function controlPlaneHelp(): string {
  const outcome = readSettings(["--help"], {});
  return outcome.kind === "help" ? outcome.text.trim() : "";
}

function kindSection(definition: (typeof KINDS)[number]): string {
  const { kind, group, versions, description } = definition;
  const spec = objectSchema(definition).properties?.["spec"] ?? {};
  const rules = new Map(UNSUPPORTED[kind as KindName].map((rule) => [rule.field, rule]));
  const rows = [...fields(spec, "spec")].map(({ path, schema }) => {
    const notYet = rules.get(path) ?? rules.get(`${path}[]`);
    return `| \`${path.slice("spec.".length)}\` | ${values(schema)} | ${byDefault(schema)} | ${meaning(schema, notYet)} |`;
  });
  return `## ${kind}

${description} \`apiVersion\`: ${versions.map((version) => `\`${group}/${version}\``).join(", ")}.

| Field | Values | Default | Meaning |
|---|---|---|---|
${rows.join("\n")}
`;
}

interface Field {
  readonly path: string;
  readonly schema: JsonSchema;
}

/** Every field once, in the order of the schema; the alternatives of a union share their path. */
function* fields(schema: JsonSchema, path: string, seen = new Set<string>()): Generator<Field> {
  for (const node of alternatives(schema)) {
    for (const [name, property] of Object.entries(node.properties ?? {})) {
      const at = `${path}.${name}`;
      if (!seen.has(at)) yield { path: at, schema: property };
      seen.add(at);
      yield* fields(property, at, seen);
    }
    if (node.items) yield* fields(node.items, `${path}[]`, seen);
    if (typeof node.additionalProperties === "object") yield* fields(node.additionalProperties, `${path}{}`, seen);
  }
}

function alternatives(schema: JsonSchema): readonly JsonSchema[] {
  return schema.anyOf ? schema.anyOf.flatMap(alternatives) : [schema];
}

function values(schema: JsonSchema): string {
  return [...new Set(alternatives(schema).map(value))].join(" or ");
}

function value(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.map((one) => `\`${String(one)}\``).join(", ");
  if (schema["const"] !== undefined) return `\`${String(schema["const"])}\``;
  switch (schema.type) {
    case "array":
      return `list of ${schema.items ? values(schema.items) : "values"}`;
    case "object":
      return schema.properties ? "fields" : "map";
    case "integer":
    case "number":
      return `number${range(schema)}`;
    case "boolean":
      return "true, false";
    default:
      return "text";
  }
}

function range(schema: JsonSchema): string {
  const { minimum, maximum } = schema as { readonly minimum?: number; readonly maximum?: number };
  const known = (bound: number | undefined): bound is number => bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER;
  if (known(minimum) && known(maximum)) return ` from ${minimum} to ${maximum}`;
  if (known(minimum)) return ` from ${minimum}`;
  return known(maximum) ? ` to ${maximum}` : "";
}

function byDefault(schema: JsonSchema): string {
  const preset = schema["default"];
  if (preset === undefined) return "";
  if (Array.isArray(preset) && preset.length === 0) return "none";
  if (typeof preset === "object" && preset !== null && Object.keys(preset).length === 0) return "";
  return `\`${typeof preset === "string" ? preset : JSON.stringify(preset)}\``;
}

function meaning(schema: JsonSchema, rule: UnsupportedRule | undefined): string {
  const told = (schema.description ?? "").replaceAll("|", "\\|");
  return [told, rule === undefined ? "" : notYet(rule, schema)].filter((part) => part !== "").join(". ");
}

/** Words that rules know beyond what a schema lists. */
const WORDS = ["MONGO", "TCP", "TLS", "HTTP2", "GRPC", "GRPC-WEB", "mesh", "unix:///path", true, false];

function notYet(rule: UnsupportedRule, schema: JsonSchema): string {
  const { when, effect, instead } = rule;
  const candidates = [...new Set([...alternatives(schema).flatMap((node) => node.enum ?? []), ...WORDS] as (string | boolean)[])];
  const some = when === undefined ? [] : candidates.filter((one) => when(one, {}));
  const asked = rule.what?.length === 0 ? ` for ${rule.what("")}` : " in some forms";
  const told = some.length > 0 && some.length < candidates.length;
  const what = when === undefined ? "" : told ? ` for ${some.map((one) => `\`${String(one)}\``).join(", ")}` : asked;
  return `**Not yet**${what}: ${effectText(effect)}${instead === undefined ? "" : `; ${instead}`}`;
}

function effectText(effect: UnsupportedRule["effect"]): string {
  switch (effect) {
    case "object":
      return "the object is refused";
    case "field":
      return "left out";
    case "nothing":
      return "no effect";
    default:
      return `${effect.name} is left out`;
  }
}

const EDGE_LIMITS = {
  MAX_EDGE_TOTAL_BYTES,
  MAX_EDGE_CHUNK_BYTES,
  MAX_EDGE_MANIFEST_BYTES,
  MAX_EDGE_CHUNKS,
  MAX_ORIGIN_LENGTH,
  MAX_PASSPORT_ISSUERS,
  MAX_SECRET_BYTES,
  MAX_KID_LENGTH,
};

/** Limits of constants, grouped by who keeps them. Settings of MeshConfig are in its section. */
function limitTables(): string {
  const groups: [string, Readonly<Record<string, unknown>>][] = [
    ["Messages of HTTP/1.1", { ...DEFAULT_HTTP1_LIMITS, ...DEFAULT_SETTINGS.http }],
    ["Client hello of TLS", { ...DEFAULT_CLIENT_HELLO_LIMITS }],
    [
      "Egress",
      {
        ...DEFAULT_EGRESS_LIMITS,
        ...DEFAULT_EGRESS_LIMITS.pool,
        MAX_ANSWERS,
        MAX_NAME_LENGTH,
        MAX_LABEL_LENGTH,
        MAX_CREDENTIAL_LENGTH,
        MAX_SECRET_LENGTH,
      },
    ],
    ["Proxy users", { MAX_PROXY_USERS, MAX_SCRYPT_N, MAX_SCRYPT_MEMORY_BYTES }],
    ["Quotas", { DEFAULT_QUOTA_MEMORY_BYTES, MAX_PLAIN_KEY_CHARS }],
    ["Snapshots", { ...DEFAULT_SNAPSHOT_LIMITS, MAX_STATE_FILE_BYTES, MAX_JOIN_TOKEN_CHARS }],
    ["Edge sites", EDGE_LIMITS],
    [
      "Passports",
      {
        MAX_PASSPORT_CHARS,
        MAX_PASSPORT_NAME_CHARS,
        MAX_PASSPORT_ID_CHARS,
        MAX_PASSPORT_QUOTAS,
        MAX_PASSPORT_CLAIMS,
        MAX_PASSPORT_TTL_S,
        MAX_PASSPORT_SKEW_S,
        MAX_REMEMBERED_PASSPORTS,
      },
    ],
    ["Tunnels", { ...TUNNEL_LIMITS, ...HUB_LIMITS, MAX_SITE_TUNNELS }],
    ["Distribution", { MAX_MESSAGE_BYTES, MAX_REQUEST_MESSAGE_BYTES, MAX_FETCH_HASHES }],
    [
      "Configuration files",
      { ...PARSE_LIMITS, ...prefixed("directory", DIRECTORY_LIMITS), MAX_REGEX_LENGTH, MAX_DIRECT_BODY_BYTES, MAX_HISTORY_ROWS },
    ],
    ["API", { MAX_API_BODY_BYTES, MAX_APPLY_DOCUMENTS, MAX_WAIT_MS }],
    ["Logs", { MAX_PENDING_BYTES }],
  ];
  return groups
    .map(([title, limits]) => {
      const rows = Object.entries(limits).flatMap(([name, limit]) =>
        typeof limit === "number" ? [`| \`${name}\` | ${amount(name, limit)} |`] : [],
      );
      return `### ${title}\n\n| Limit | Value |\n|---|---|\n${rows.join("\n")}\n`;
    })
    .join("\n");
}

function prefixed(prefix: string, limits: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(limits).map(([name, limit]) => [`${prefix}.${name}`, limit]));
}

function amount(name: string, limit: number): string {
  if (limit === 0) return "0 (off)";
  if (/bytes|memory/i.test(name)) {
    if (limit % (1024 * 1024) === 0) return `${limit / 1024 / 1024} MiB`;
    if (limit % 1024 === 0) return `${limit / 1024} KiB`;
    return `${limit} bytes`;
  }
  if (/(Ms|_MS)$/.test(name)) return limit % 1000 === 0 ? `${limit / 1000} s` : `${limit} ms`;
  return String(limit);
}
