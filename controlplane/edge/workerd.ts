/**
 * Configuration of a self-hosted workerd as Cap'n Proto text. Addresses are filtered after name resolution
 * (`Network(allow = ["public"])`), so a name that leads to a private address is not reached unless a service says so by address.
 */

/** What a Worker finds under a name in its `env`. */
export type WorkerdBinding =
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "json"; readonly value: unknown }
  /** From the environment of the workerd process, so that no file holds it. */
  | { readonly kind: "fromEnvironment"; readonly variable: string }
  | ({ readonly kind: "service" } & WorkerdTarget)
  | { readonly kind: "durableObject"; readonly className: string; readonly worker?: string };

export interface WorkerdWorker {
  readonly name: string;
  /** The module's file, relative to the configuration's. */
  readonly file: string;
  readonly bindings: Readonly<Record<string, WorkerdBinding>>;
  /** Classes whose objects live in this Worker; each has SQLite storage. */
  readonly durableObjects?: readonly string[];
  /** Service that this Worker's `fetch()` goes to, whatever the URL; default: the public internet. */
  readonly outbound?: string | WorkerdTarget;
}

/** A service as somebody reaches it. */
export interface WorkerdTarget {
  readonly service: string;
  readonly entrypoint?: string;
  /** Arrive in the called Worker as `ctx.props`: they say who calls, and the caller cannot change them. */
  readonly props?: unknown;
}

export interface WorkerdSocket {
  readonly name: string;
  /** `host:port`. */
  readonly address: string;
  readonly service: string;
  readonly entrypoint?: string;
  /** Certificate chain and key, files relative to the configuration's; undefined: plain HTTP. */
  readonly tls?: { readonly certificateFile: string; readonly privateKeyFile: string };
  /** `proxy`: requests name their target in absolute form, as to a forward proxy. */
  readonly style?: "host" | "proxy";
}

export interface WorkerdConfig {
  readonly workers: readonly WorkerdWorker[];
  readonly sockets: readonly WorkerdSocket[];
  /** Backends by address (`host:port`): reached whatever network they are in, with any Host. */
  readonly external?: Readonly<
    Record<string, { readonly address: string; readonly https?: { readonly certificateHost: string } }>
  >;
  /** Networks that `fetch()` may reach besides public ones: CIDR blocks, or `private`. */
  readonly allowNetworks?: readonly string[];
  /** Authorities (PEM) trusted besides the built-in ones. */
  readonly trustedCertificates?: readonly string[];
  /** Folder for the objects' storage; undefined: memory, gone with the process. */
  readonly storage?: string;
}

/** Not more than a week past workerd's own release. */
export const COMPATIBILITY_DATE = "2026-11-01";

/** `request.signal` tells when the client is gone. */
export const COMPATIBILITY_FLAGS: readonly string[] = ["enable_request_signal"];

export function workerdConfig(config: WorkerdConfig): string {
  const { workers, sockets, external = {}, allowNetworks = [], trustedCertificates = [], storage } = config;
  const trusted = trustedCertificates.length === 0 ? "" : `, trustedCertificates = ${list(trustedCertificates.map(quote))}`;
  const services = [
    ...workers.map(({ name }, i) => `(name = ${quote(name)}, worker = .worker${i})`),
    `(name = "internet", network = (allow = ${list(["public", ...allowNetworks].map(quote))}, tlsOptions = (trustBrowserCas = true${trusted})))`,
    ...Object.entries(external).map(([name, { address, https }]) => {
      const how =
        https === undefined
          ? "http = ()"
          : `https = (options = (), certificateHost = ${quote(https.certificateHost)}, tlsOptions = (trustBrowserCas = true${trusted}))`;
      return `(name = ${quote(name)}, external = (address = ${quote(address)}, ${how}))`;
    }),
    ...(storage === undefined ? [] : [`(name = "storage", disk = (path = ${quote(storage)}, writable = true))`]),
  ];
  const text = [
    'using Workerd = import "/workerd/workerd.capnp";',
    "",
    "const config :Workerd.Config = (",
    `  services = ${list(services, "    ")},`,
    `  sockets = ${list(sockets.map(socket), "    ")},`,
    ");",
    ...workers.flatMap((worker, i) => ["", `const worker${i} :Workerd.Worker = ${workerText(worker, storage !== undefined)};`]),
  ];
  return `${text.join("\n")}\n`;
}

function workerText(
  { name, file, bindings, durableObjects = [], outbound = "internet" }: WorkerdWorker,
  onDisk: boolean,
): string {
  const objects = durableObjects.map(
    (className) => `(className = ${quote(className)}, uniqueKey = ${quote(`${name}-${className}`)}, enableSql = true)`,
  );
  const fields = [
    `modules = [ (name = "worker.js", esModule = embed ${quote(file)}) ]`,
    `compatibilityDate = ${quote(COMPATIBILITY_DATE)}`,
    `compatibilityFlags = ${list(COMPATIBILITY_FLAGS.map(quote))}`,
    `bindings = ${list(
      Object.entries(bindings).map(([key, value]) => binding(key, value)),
      "    ",
    )}`,
    `globalOutbound = ${typeof outbound === "string" ? quote(outbound) : target(outbound)}`,
    ...(objects.length === 0
      ? []
      : [
          `durableObjectNamespaces = ${list(objects, "    ")}`,
          onDisk ? 'durableObjectStorage = (localDisk = "storage")' : "durableObjectStorage = (inMemory = void)",
        ]),
  ];
  return `(\n  ${fields.join(",\n  ")},\n)`;
}

function binding(name: string, value: WorkerdBinding): string {
  return `(name = ${quote(name)}, ${bindingValue(value)})`;
}

function bindingValue(value: WorkerdBinding): string {
  switch (value.kind) {
    case "text":
      return `text = ${quote(value.value)}`;
    case "json":
      return `json = ${quote(JSON.stringify(value.value))}`;
    case "fromEnvironment":
      return `fromEnvironment = ${quote(value.variable)}`;
    case "service":
      return `service = ${target(value)}`;
    case "durableObject": {
      const where = value.worker === undefined ? "" : `, serviceName = ${quote(value.worker)}`;
      return `durableObjectNamespace = (className = ${quote(value.className)}${where})`;
    }
  }
}

function target({ service, entrypoint, props }: WorkerdTarget): string {
  const named = entrypoint === undefined ? "" : `, entrypoint = ${quote(entrypoint)}`;
  return `(name = ${quote(service)}${named}${props === undefined ? "" : `, props = (json = ${quote(JSON.stringify(props))})`})`;
}

function socket({ name, address, service, entrypoint, tls, style }: WorkerdSocket): string {
  const options = style === "proxy" ? "(style = proxy)" : "()";
  const protocol =
    tls === undefined
      ? `http = ${options}`
      : `https = (options = ${options}, tlsOptions = (keypair = (privateKey = embed ${quote(tls.privateKeyFile)}, certificateChain = embed ${quote(tls.certificateFile)})))`;
  const served = entrypoint === undefined ? quote(service) : target({ service, entrypoint });
  return `(name = ${quote(name)}, address = ${quote(address)}, ${protocol}, service = ${served})`;
}

function list(items: readonly string[], indent?: string): string {
  if (indent === undefined || items.length < 2) return `[${items.join(", ")}]`;
  return `[\n${items.map((item) => `${indent}${item},`).join("\n")}\n${indent.slice(2)}]`;
}

/** A Cap'n Proto string: C escapes; JSON's are the same for what JSON has to escape, but for what it writes as \\u. */
function quote(text: string): string {
  let quoted = '"';
  for (const byte of new TextEncoder().encode(text)) {
    if (byte === 0x22 || byte === 0x5c) quoted += `\\${String.fromCharCode(byte)}`;
    else if (byte >= 0x20 && byte < 0x7f) quoted += String.fromCharCode(byte);
    else quoted += `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `${quoted}"`;
}
