/**
 * A Worker's bindings as values that can be relied on: read once per isolate, every problem at once. Nothing that a binding holds
 * is ever told in a problem, only its name and what would be right.
 */
import { readPassportKey } from "../core/identity/index.ts";
import { fail, type Issue, ok, type Result } from "../core/result.ts";
import { Secret } from "./secret.ts";

/** What both Workers of a site are told. */
export interface SiteSettings {
  /** Name of the EdgeSite. */
  readonly site: string;
  /** Pool that the site's snapshots are for. */
  readonly audience: string;
  /** SHA-256 (base64url) of the first trust root. */
  readonly trustRoot: string;
  /** Lowest version that an isolate without memory takes. */
  readonly floor: { readonly epoch: number; readonly version: number } | undefined;
  /** Host of the site's URL: the only one under which `/.tidegate/` is answered. */
  readonly siteHost: string;
  readonly relay: DurableObjectNamespace;
}

export interface IngressSettings extends SiteSettings {
  /** Field in which the platform names the client. */
  readonly clientAddress: ClientAddressField;
  /** Endpoints may be IP addresses: a self-hosted runtime that is allowed private networks. */
  readonly allowIpUpstreams: boolean;
  /** Bearer of the control plane. */
  readonly relayToken: Secret;
  /** Bearer of Node gateways for the quota bank; undefined: no gateway draws on this site's bank. */
  readonly bankToken: Secret | undefined;
  /** Bearer of Node gateways for tunnels; undefined: none are taken. */
  readonly tunnelToken: Secret | undefined;
  /** Private JWK that passports are signed with; undefined: nothing goes to a cluster. */
  readonly passportKey: Secret | undefined;
  /** Objects that count global quotas; undefined: another site has them. */
  readonly bank: DurableObjectNamespace | undefined;
  /** Objects in which the gateways of clusters are met; undefined: no cluster is reached by a tunnel. */
  readonly tunnels: DurableObjectNamespace | undefined;
}

/**
 * `cf-connecting-ip`: only Cloudflare can set it there. `x-forwarded-for`: on a self-hosted runtime, whose proxies in front are counted by
 * the snapshot's `numTrustedProxies`.
 */
export type ClientAddressField = "cf-connecting-ip" | "x-forwarded-for";

export function readSite(env: object): Result<SiteSettings> {
  const read = new EnvReader(env);
  return read.result(siteOf(read));
}

export interface EgressSettings extends SiteSettings {
  /** The quota bank of the site; undefined: it has none. */
  readonly bank: DurableObjectNamespace | undefined;
  /** For a bank at another site. */
  readonly bankToken: Secret | undefined;
}

export function readEgress(env: object): Result<EgressSettings> {
  const read = new EnvReader(env);
  return read.result({ ...siteOf(read), bank: read.optionalObjects("BANK"), bankToken: read.optionalSecret("BANK_TOKEN") });
}

export function readIngress(env: object): Result<IngressSettings> {
  const read = new EnvReader(env);
  return read.result({
    ...siteOf(read),
    clientAddress: read.choice("CLIENT_ADDRESS", ["cf-connecting-ip", "x-forwarded-for"]),
    allowIpUpstreams: read.choice("ALLOW_IP_UPSTREAMS", ["0", "1"]) === "1",
    relayToken: read.secret("RELAY_TOKEN"),
    bankToken: read.optionalSecret("BANK_TOKEN"),
    tunnelToken: read.optionalSecret("TUNNEL_TOKEN"),
    passportKey: read.optionalPassportKey("PASSPORT_KEY"),
    bank: read.optionalObjects("BANK"),
    tunnels: read.optionalObjects("TUNNELS"),
  });
}

function siteOf(read: EnvReader): SiteSettings {
  const floor = read.optionalText("SNAPSHOT_FLOOR", FLOOR, "must be epoch.version, such as 1.42");
  const [epoch = 0, version = 0] = floor?.split(".").map(Number) ?? [];
  return {
    site: read.text("SITE", NAME, "must be the name of the EdgeSite: lower-case letters, digits and -"),
    audience: read.text("AUDIENCE", NAME, "must be the EdgeSite's audience: lower-case letters, digits and -"),
    trustRoot: read.text("TRUST_ROOT", SHA256, "must be the SHA-256 of the first trust root as 43 characters of base64url"),
    floor: floor === undefined ? undefined : { epoch, version },
    siteHost: read.text("SITE_HOST", HOST, "must be the host of the site's URL in lower case, with its port if it names one"),
    relay: read.objects("RELAY"),
  };
}

const NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;
const SHA256 = /^[\w-]{43}$/;
const FLOOR = /^\d{1,15}\.\d{1,15}$/;
const HOST = /^(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;
/** Shorter ones could be guessed. */
export const MIN_TOKEN_CHARS = 16;

/** Reads bindings one by one and keeps every problem. What it returns is good for use only if `result` says so. */
export class EnvReader {
  readonly #env: Readonly<Record<string, unknown>>;
  readonly #issues: Issue[] = [];

  constructor(env: object) {
    this.#env = env as Readonly<Record<string, unknown>>;
  }

  result<T>(value: T): Result<T> {
    return this.#issues.length === 0 ? ok(value) : fail(this.#issues);
  }

  text(name: string, form: RegExp, rule: string): string {
    const text = this.optionalText(name, form, rule);
    if (text === undefined) this.#problem(name, `is not set: it ${rule}`);
    return text ?? "";
  }

  /** An empty text is as good as none: that is how a variable is unset where it cannot be left out. */
  optionalText(name: string, form: RegExp, rule: string): string | undefined {
    const value = this.#env[name];
    if (value === undefined || value === "") return undefined;
    if (typeof value !== "string" || !form.test(value)) this.#problem(name, rule);
    return String(value);
  }

  /** One of the words; the first one when it is not set. */
  choice<const Word extends string>(name: string, words: readonly [Word, ...Word[]]): Word {
    const value = this.#env[name];
    if (value === undefined || value === "") return words[0];
    const word = words.find((one) => one === value);
    if (word === undefined) this.#problem(name, `must be one of ${words.join(", ")}`);
    return word ?? words[0];
  }

  secret(name: string): Secret {
    const secret = this.optionalSecret(name);
    if (secret === undefined) this.#problem(name, "is not set: it must be a secret");
    return secret ?? new Secret("");
  }

  optionalSecret(name: string): Secret | undefined {
    const value = this.#env[name];
    if (value === undefined || value === "") return undefined;
    if (typeof value !== "string" || value.length < MIN_TOKEN_CHARS) {
      this.#problem(name, `must be a text of at least ${MIN_TOKEN_CHARS} characters`);
    }
    return new Secret(String(value));
  }

  optionalPassportKey(name: string): Secret | undefined {
    const value = this.#env[name];
    if (value === undefined || value === "") return undefined;
    if (typeof value !== "string" || !readPassportKey(value).ok) {
      this.#problem(name, "must be a private Ed25519 JWK (RFC 8037) with a kid, as JSON");
    }
    return new Secret(String(value));
  }

  objects(name: string): DurableObjectNamespace {
    const value = this.#env[name];
    if (!isNamespace(value)) this.#problem(name, "must be bound to a Durable Object namespace");
    return value as DurableObjectNamespace;
  }

  optionalObjects(name: string): DurableObjectNamespace | undefined {
    return this.#env[name] === undefined ? undefined : this.objects(name);
  }

  #problem(name: string, problem: string): void {
    this.#issues.push({ path: name, problem });
  }
}

function isNamespace(value: unknown): value is DurableObjectNamespace {
  return typeof value === "object" && value !== null && "idFromName" in value;
}
