/**
 * The access log: one JSON object per line and request, or opaque connection. Fields, always in this order; what is unknown is null:
 *
 * | field | meaning |
 * |---|---|
 * | `time` | when the request began, RFC 3339 UTC with milliseconds |
 * | `method`, `scheme`, `authority`, `path`, `protocol` | the request as it came; `path` is the whole target |
 * | `status` | of the response; 0 when the client was gone before there was one |
 * | `flags` | response flags (flags.ts), comma separated, or `-` |
 * | `duration_ms`, `upstream_ms` | from the head to the end; until the origin's head, of the last attempt |
 * | `request_bytes`, `response_bytes` | of the bodies |
 * | `attempts` | requests sent upstream |
 * | `peer`, `principal` | other end of the connection, `address:port`; SPIFFE id out of its certificate |
 * | `sni`, `tls_version` | name the client asked for in TLS; version that was agreed on |
 * | `listener`, `route`, `cluster`, `endpoint` | where it went |
 * | `rule`, `reason` | what decided against it or changed it, and why |
 * | `snapshot` | version of the configuration it was held against |
 * | `site`, `passport` | the edge site that handed the request on with a passport, and the passport's id |
 * | `client` | address of the client behind the peer, as the passport says |
 * | `request_id`, `user_agent`, `forwarded_for`, `referer` | fields of the request, as sent |
 * | `grpc_status` | how a gRPC call ended, by number |
 *
 * An opaque connection has `TCP` for its `protocol` (`TLS` when it was picked by its ClientHello), null for what only requests have, the time until
 * it was connected upstream in `upstream_ms`, bytes from and to the client in `request_bytes` and `response_bytes`, and the endpoints that it was
 * tried at in `attempts`.
 */
import { addressAndPort } from "../http/address.ts";
import type { ConnectionRecord, PeerInfo, RequestRecord } from "../ports.ts";

/** Where the pieces of a line go, one after the other. */
export interface LogOutput {
  /** JSON in ASCII. */
  json(text: string): void;
  /** A JSON string of this text, none of whose characters is above U+00FF. */
  string(text: string): void;
}

/**
 * Writes a line in pieces: most of them have been written before and are kept.
 *
 * @param unixMs wall-clock time of the record's start
 */
export function writeAccessLog(record: RequestRecord, unixMs: number, out: LogOutput): void {
  const { peer } = record;
  writeTime(unixMs, out);
  out.json(methodText(record.method, record.scheme));
  out.string(record.authority);
  out.json(PATH);
  out.string(record.target);
  out.json(outcomeText(record));
  writeMilliseconds(record.durationMs, out);
  out.json(UPSTREAM_MS);
  if (record.upstreamMs === undefined) out.json("null");
  else writeMilliseconds(record.upstreamMs, out);
  out.json(REQUEST_BYTES);
  out.json(String(record.requestBytes));
  out.json(RESPONSE_BYTES);
  out.json(String(record.responseBytes));
  out.json(ATTEMPTS);
  out.json(String(record.attempts));
  peer.logged ??= peerText(peer, peer.tls?.serverName);
  out.json(peer.logged);
  out.json(placeText(record));
  optional(record.endpoint, out);
  out.json(reasonText(record));
  writeFields(record, out);
  out.json(record.grpcStatus === undefined ? NO_GRPC_STATUS : `,"grpc_status":${record.grpcStatus}}\n`);
}

/** `writeAccessLog` as text. */
export function accessLogLine(record: RequestRecord, unixMs: number): string {
  const line = new Line();
  writeAccessLog(record, unixMs, line);
  return line.text;
}

class Line implements LogOutput {
  text = "";

  json(text: string): void {
    this.text += text;
  }

  string(value: string): void {
    this.text += text(value);
  }
}

const PATH = ',"path":';
const UPSTREAM_MS = ',"upstream_ms":';
const REQUEST_BYTES = ',"request_bytes":';
const RESPONSE_BYTES = ',"response_bytes":';
const ATTEMPTS = ',"attempts":';
const NO_GRPC_STATUS = ',"grpc_status":null}\n';

/** @param unixMs wall-clock time at which the connection was accepted */
export function connectionLogLine(record: ConnectionRecord, unixMs: number): string {
  const { peer, serverName, listener, routeId, clusterName } = record;
  const line = new Line();
  writeTime(unixMs, line);
  line.json('"method":null,"scheme":null,"authority":null,"path":null');
  line.json(`,"protocol":"${serverName === undefined ? "TCP" : "TLS"}","status":null,"flags":"${record.flags}","duration_ms":`);
  writeMilliseconds(record.durationMs, line);
  line.json(UPSTREAM_MS);
  if (record.connectMs === undefined) line.json("null");
  else writeMilliseconds(record.connectMs, line);
  line.json(REQUEST_BYTES + record.receivedBytes + RESPONSE_BYTES + record.sentBytes + ATTEMPTS + record.attempts);
  line.json(peerText(peer, peer.tls?.serverName ?? serverName));
  line.json(`,"listener":${known(listener)},"route":${known(routeId)},"cluster":${known(clusterName)},"endpoint":`);
  optional(record.endpoint, line);
  line.json(`,"rule":null,"reason":${known(record.reason)},"snapshot":${known(record.snapshotVersion)}${NO_PASSPORT}null`);
  line.json(`${USER_AGENT}null${FORWARDED_FOR}null${REFERER}null${NO_GRPC_STATUS}`);
  return line.text;
}

function methodText(method: string, scheme: string): string {
  const kept = METHODS.get(method)?.[scheme === "https" ? 1 : 0];
  return kept ?? methodTextOf(text(method), scheme);
}

function methodTextOf(method: string, scheme: string): string {
  return flat('"method":', method, ',"scheme":"', scheme, '","authority":');
}

const METHODS: ReadonlyMap<string, readonly [http: string, https: string]> = new Map(
  ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"].map((method) => [
    method,
    [methodTextOf(`"${method}"`, "http"), methodTextOf(`"${method}"`, "https")],
  ]),
);

function outcomeText({ protocol, status, flags }: RequestRecord): string {
  if (flags !== "-") return outcomeTextOf(protocol, status, flags);
  const byStatus = kept(outcomes, protocol, () => new Map<number, string>());
  return kept(byStatus, status, () => outcomeTextOf(protocol, status, flags));
}

function outcomeTextOf(protocol: string, status: number, flags: string): string {
  return flat(',"protocol":"', protocol, '","status":', status, ',"flags":"', flags, '","duration_ms":');
}

const outcomes = new Map<string, Map<number, string>>();

/** Of a connection's other end, and the name that it asked for. */
function peerText({ address, port, principal, tls }: PeerInfo, sni: string | undefined): string {
  return flat(
    ...[',"peer":"', addressAndPort(address, port), '","principal":', principal === undefined ? "null" : text(principal)],
    ...[',"sni":', sni === undefined ? "null" : text(sni), ',"tls_version":', known(tls?.version)],
  );
}

/** What is kept of a route is where its last request went: nearly always, the next one goes there, too. */
function placeText({ listener, routeId, clusterName }: RequestRecord): string {
  const before = places.get(routeId);
  if (before !== undefined && before.clusterName === clusterName && before.listener === listener) return before.text;
  const text = flat(
    ',"listener":',
    known(listener),
    ',"route":',
    known(routeId),
    ',"cluster":',
    known(clusterName),
    ',"endpoint":',
  );
  if (places.size >= MAX_PLACES) places.clear();
  places.set(routeId, { listener, clusterName, text });
  return text;
}

interface Place {
  readonly listener: string;
  readonly clusterName: string | undefined;
  readonly text: string;
}

/** More routes than most have: with more of them in use than this, keeping would cost more than it saves. */
const MAX_PLACES = 65_536;
const places = new Map<string | undefined, Place>();

/** Nearly always nothing was in the way, and the snapshot is the one of the line before. */
function reasonText({ rule, reason, snapshotVersion, passport, peer }: RequestRecord): string {
  if (rule === undefined && reason === undefined && passport === undefined && peer.clientAddress === undefined) {
    if (snapshotVersion !== plainVersion) {
      plainVersion = snapshotVersion;
      plainText = flat(',"rule":null,"reason":null,"snapshot":', known(snapshotVersion), NO_PASSPORT);
    }
    return plainText;
  }
  const client = peer.clientAddress;
  return (
    `,"rule":${known(rule)},"reason":${known(reason)},"snapshot":${known(snapshotVersion)},"site":${known(passport?.site)}` +
    `,"passport":${passport === undefined ? "null" : text(passport.id)},"client":${client === undefined ? "null" : text(client)},"request_id":`
  );
}

const NO_PASSPORT = ',"site":null,"passport":null,"client":null,"request_id":';
let plainVersion = "";
let plainText = "";

/** First value each. */
function writeFields({ fields }: RequestRecord, out: LogOutput): void {
  let requestId: string | undefined;
  let userAgent: string | undefined;
  let forwardedFor: string | undefined;
  let referer: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    switch (fields[i]) {
      case "x-request-id":
        requestId ??= fields[i + 1];
        break;
      case "user-agent":
        userAgent ??= fields[i + 1];
        break;
      case "x-forwarded-for":
        forwardedFor ??= fields[i + 1];
        break;
      case "referer":
        referer ??= fields[i + 1];
        break;
    }
  }
  optional(requestId, out);
  out.json(USER_AGENT);
  optional(userAgent, out);
  out.json(FORWARDED_FOR);
  optional(forwardedFor, out);
  out.json(REFERER);
  optional(referer, out);
}

const USER_AGENT = ',"user_agent":';
const FORWARDED_FOR = ',"forwarded_for":';
const REFERER = ',"referer":';

function optional(value: string | undefined, out: LogOutput): void {
  if (value === undefined) out.json("null");
  else out.string(value);
}

/** What is written in the configuration comes again and again: its JSON form is kept. */
function known(value: string | undefined): string {
  return value === undefined ? "null" : kept(knownTexts, value, () => text(value));
}

/** What one map keeps; more than this (reasons that tell numbers, say) and keeping starts over. */
const MAX_KEPT = 4096;
const knownTexts = new Map<string, string>();

function kept<Key, Value>(texts: Map<Key, Value>, key: Key, make: () => Value): Value {
  const before = texts.get(key);
  if (before !== undefined) return before;
  if (texts.size >= MAX_KEPT) texts.clear();
  const made = make();
  texts.set(key, made);
  return made;
}

/** In one piece of memory, which is what writing it again and again asks for: joined by `+` it would stay a tree. */
function flat(...parts: readonly (string | number)[]): string {
  return parts.join("");
}

/** A JSON string. Nearly all are plain. */
function text(value: string): string {
  return PLAIN.test(value) ? flat('"', value, '"') : asciiJson(value);
}

/** JSON in ASCII alone (RFC 8259 7: any character may be escaped), so that a line is as many bytes as it has characters. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^\x00-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** With microseconds as its fraction, without zeros at the end. */
function writeMilliseconds(ms: number, out: LogOutput): void {
  const micros = Math.round(ms * 1000);
  const whole = Math.floor(micros / 1000);
  out.json(String(whole));
  out.json(FRACTIONS[micros - whole * 1000] as string);
}

/** ``, `.001` … `.999`. */
const FRACTIONS: readonly string[] = Array.from({ length: 1000 }, (_, i) =>
  i === 0 ? "" : `.${String(i).padStart(3, "0").replace(/0+$/, "")}`,
);

/** `000Z",` … `999Z",` */
const MILLISECONDS: readonly string[] = Array.from({ length: 1000 }, (_, i) => `${String(i).padStart(3, "0")}Z",`);

/** The part down to the second is kept for as long as it lasts. */
function writeTime(unixMs: number, out: LogOutput): void {
  const whole = Math.floor(unixMs);
  const second = Math.floor(whole / 1000);
  if (second !== keptSecond) {
    keptSecond = second;
    keptText = flat('{"time":"', new Date(second * 1000).toISOString().slice(0, 20));
  }
  out.json(keptText);
  out.json(MILLISECONDS[whole - second * 1000] as string);
}

let keptSecond = Number.NaN;
let keptText = "";
