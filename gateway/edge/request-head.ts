/**
 * A `Request` in core's words. workerd hands over the target as it came, which is what core's canonical forms start from; what the platform has read
 * itself (framing, Host, absolute forms) is taken as it says.
 */
import {
  type BodyKind,
  connectionOptionsOf,
  type FieldList,
  field,
  type IncomingRequest,
  NO_BODY,
  parseAuthority,
  type ReadonlyFieldList,
  type RequestHead,
  type Scheme,
  STREAM_BODY,
} from "../core/index.ts";
import type { ClientAddressField } from "./env.ts";
import { numberIn } from "./number.ts";
import type { ClientPlace, PlacedPeer } from "./report.ts";

export interface EdgeRequest extends IncomingRequest {
  readonly peer: PlacedPeer;
  /** All of its field lines but those of the names in `unread`, which are told in another way or are the platform's own business. */
  readonly read: ReadonlyFieldList;
  readonly unread: readonly string[];
}

/** What the platform tells of a request's connection, as far as it does. */
interface PlatformFacts {
  /** `address:port`; self-hosted only. */
  readonly clientIp?: unknown;
  readonly tlsVersion?: unknown;
  /** Cloudflare only, such as `HTTP/2`. */
  readonly httpProtocol?: unknown;
  readonly country?: unknown;
  readonly colo?: unknown;
  readonly asn?: unknown;
}

/** Address of a client that nobody trustworthy has named. */
export const UNKNOWN_ADDRESS = "0.0.0.0";

/** @returns undefined: its Host is not an authority, or its target not one that an origin could be asked for */
export function readRequest(request: Request, clientAddress: ClientAddressField): EdgeRequest | undefined {
  const url = splitUrl(request.url);
  if (url === undefined) return undefined;
  const { method } = request;
  const { scheme, authority, target } = url;
  if (target === "*" && method !== "OPTIONS") return undefined;
  const facts = (request.cf ?? {}) as PlatformFacts;
  const { read, unread, framing, connectionOptions } = READER.read(request.headers);
  // Cloudflare sets the field and drops a client's own.
  const named = clientAddress === "cf-connecting-ip" ? (field(read, clientAddress) ?? UNKNOWN_ADDRESS) : undefined;
  // Core changes its own list.
  const fields = read.slice();
  if (named !== undefined) dropLastHop(fields, named);
  const head: RequestHead = { method, scheme, authority, target, fields, body: bodyOf(request, framing, facts) };
  const isUpgrade = connectionOptions?.includes("upgrade") === true || facts.httpProtocol !== undefined;
  const isWebSocket = isUpgrade && method === "GET" && field(fields, "upgrade")?.toLowerCase() === "websocket";
  const peer = peerOf(named, facts, scheme);
  return { head, version: "1.1", connectionOptions, switchTo: isWebSocket ? "websocket" : undefined, peer, read, unread };
}

interface SplitUrl {
  readonly scheme: Scheme;
  readonly authority: string;
  readonly target: string;
}

/** Nothing is decoded or resolved: `URL` would do both. */
function splitUrl(url: string): SplitUrl | undefined {
  const scheme = url.startsWith("http://") ? "http" : url.startsWith("https://") ? "https" : undefined;
  if (scheme === undefined) return undefined;
  const start = scheme.length + "://".length;
  let end = start;
  while (end < url.length && !isAfterHost(url.charCodeAt(end))) end++;
  const authority = authorityOf(url.slice(start, end));
  if (authority === undefined) return undefined;
  const target = end === url.length ? "/" : url.slice(end);
  // What an origin would read as the path's end, or as another path, is refused as Node's codec does.
  if (target !== "*" && (target[0] !== "/" || !isFit(target))) return undefined;
  return { scheme, authority, target };
}

const SLASH = 0x2f;
const QUESTION_MARK = 0x3f;
const ASTERISK = 0x2a;
const FRAGMENT_MARK = 0x23;
const BACKSLASH = 0x5c;

function isAfterHost(code: number): boolean {
  return code === SLASH || code === QUESTION_MARK || code === FRAGMENT_MARK || code === ASTERISK || code === BACKSLASH;
}

/** Visible ASCII without the fragment mark and backslashes. */
function isFit(target: string): boolean {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code < 0x21 || code > 0x7e || code === FRAGMENT_MARK || code === BACKSLASH) return false;
  }
  return true;
}

/** Most requests of an isolate name the same host as the one before. */
function authorityOf(host: string): string | undefined {
  if (host !== lastHost) {
    lastAuthority = parseAuthority(host);
    lastHost = host;
  }
  return lastAuthority;
}

let lastHost: string | undefined;
let lastAuthority: string | undefined;

interface ReadFields {
  readonly read: FieldList;
  readonly unread: readonly string[];
  readonly framing: "chunked" | number | undefined;
  readonly connectionOptions: readonly string[] | undefined;
}

/** Takes one request's lines after the other's. One for all: the code for functions that are made for each request is thrown away with the last of them. */
class FieldReader {
  #read: FieldList = [];
  #unread = NONE;
  #framing: ReadFields["framing"];
  #connectionOptions: readonly string[] | undefined;

  read(headers: Headers): ReadFields {
    this.#read = [];
    this.#unread = NONE;
    this.#framing = undefined;
    this.#connectionOptions = undefined;
    // Its iterator would cost the runtime several objects for each line.
    headers.forEach(this.#take);
    return { read: this.#read, unread: this.#unread, framing: this.#framing, connectionOptions: this.#connectionOptions };
  }

  readonly #take = (value: string, name: string): void => {
    switch (name) {
      case "host":
        break;
      case "connection":
        this.#connectionOptions = connectionOptionsOf(value);
        break;
      case "content-length":
        this.#framing ??= numberIn(value);
        break;
      case "transfer-encoding":
        this.#framing = "chunked";
        break;
      default:
        this.#read.push(name, value);
        return;
    }
    this.#unread = this.#unread === NONE && name === "host" ? HOST_ALONE : [...this.#unread, name];
  };
}

const NONE: readonly string[] = [];
/** What most requests without content have. */
const HOST_ALONE: readonly string[] = ["host"];
const READER = new FieldReader();

/** A request without framing fields has no content over HTTP/1 (RFC 9112 6.3), and an unknown amount over HTTP/2 and 3. */
function bodyOf(request: Request, framing: ReadFields["framing"], facts: PlatformFacts): BodyKind {
  if (typeof framing === "number") return Number.isSafeInteger(framing) ? { kind: "length", bytes: framing } : STREAM_BODY;
  if (framing === "chunked") return STREAM_BODY;
  const isSelfHosted = facts.clientIp !== undefined;
  return isSelfHosted || request.body === null ? NO_BODY : STREAM_BODY;
}

/** @param named the client's address by the platform's word; undefined: it is the one that is connected */
function peerOf(named: string | undefined, facts: PlatformFacts, scheme: Scheme): PlacedPeer {
  const tls = scheme === "https" ? { serverName: undefined, version: textOf(facts.tlsVersion) ?? "unknown" } : undefined;
  const { address, port } = named === undefined ? connectedPeer(facts) : { address: named, port: 0 };
  const place = placeOf(facts);
  if (tls === undefined && place === undefined) return { address, port };
  return { address, port, ...(tls === undefined ? {} : { tls }), ...(place === undefined ? {} : { place }) };
}

function placeOf(facts: PlatformFacts): ClientPlace | undefined {
  const country = textOf(facts.country) ?? null;
  const colo = textOf(facts.colo) ?? null;
  const asn = typeof facts.asn === "number" ? facts.asn : null;
  return country === null && colo === null && asn === null ? undefined : { country, colo, asn };
}

/** Cloudflare has put the client's address at the end of X-Forwarded-For as well: core will do that. */
function dropLastHop(fields: FieldList, address: string): void {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== "x-forwarded-for") continue;
    const chain = fields[i + 1];
    if (chain === address) fields.splice(i, 2);
    else if (chain?.endsWith(`, ${address}`)) fields[i + 1] = chain.slice(0, -address.length - 2);
    return;
  }
}

/** `1.2.3.4:5` or `[2001:db8::1]:5`. */
function connectedPeer({ clientIp }: PlatformFacts): { readonly address: string; readonly port: number } {
  const text = textOf(clientIp) ?? "";
  let colon = text.length - 1;
  while (colon > 0 && text.charCodeAt(colon) !== COLON) colon--;
  const port = numberIn(text.slice(colon + 1));
  const isBracketed = text[0] === "[" && text[colon - 1] === "]";
  const address = isBracketed ? text.slice(1, colon - 1) : text.slice(0, colon);
  if (Number.isNaN(port) || !isAddress(address)) return { address: UNKNOWN_ADDRESS, port: 0 };
  return { address, port };
}

const DOT = 0x2e;
const ZERO = 0x30;
/** Right behind the digit 9. */
const COLON = 0x3a;
const LETTER_A = 0x61;
const LETTER_F = 0x66;

/** Lower-case hex digits, dots and colons: as far as the platform could be mistaken. */
function isAddress(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const isDigit = code >= ZERO && code <= COLON;
    const isLetter = code >= LETTER_A && code <= LETTER_F;
    if (!isDigit && !isLetter && code !== DOT) return false;
  }
  return text !== "";
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
