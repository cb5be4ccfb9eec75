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
import type { ConnectionRecord, RequestRecord } from "../ports.ts";

/** @param unixMs wall-clock time of the record's start */
export function accessLogLine(record: RequestRecord, unixMs: number): string {
  const { peer } = record;
  const told = toldFields(record);
  return (
    `{"time":"${timestamp(unixMs)}","method":${text(record.method)},"scheme":"${record.scheme}","authority":${text(record.authority)}` +
    `,"path":${text(record.target)},"protocol":"${record.protocol}","status":${record.status},"flags":"${record.flags}"` +
    `,"duration_ms":${milliseconds(record.durationMs)},"upstream_ms":${record.upstreamMs === undefined ? "null" : milliseconds(record.upstreamMs)}` +
    `,"request_bytes":${record.requestBytes},"response_bytes":${record.responseBytes},"attempts":${record.attempts}` +
    `,"peer":"${addressAndPort(peer.address, peer.port)}","principal":${optional(peer.principal)},"sni":${optional(peer.tls?.serverName)}` +
    `,"tls_version":${known(peer.tls?.version)}` +
    `,"listener":${known(record.listener)},"route":${known(record.routeId)},"cluster":${known(record.clusterName)}` +
    `,"endpoint":${known(record.endpoint)},"rule":${known(record.rule)},"reason":${known(record.reason)}` +
    `,"snapshot":${known(record.snapshotVersion)},"site":${known(record.passport?.site)},"passport":${optional(record.passport?.id)}` +
    `,"client":${optional(peer.clientAddress)},"request_id":${optional(told.requestId)},"user_agent":${optional(told.userAgent)}` +
    `,"forwarded_for":${optional(told.forwardedFor)},"referer":${optional(told.referer)},"grpc_status":${record.grpcStatus ?? "null"}}\n`
  );
}

/** @param unixMs wall-clock time at which the connection was accepted */
export function connectionLogLine(record: ConnectionRecord, unixMs: number): string {
  const { peer } = record;
  const sni = peer.tls?.serverName ?? record.serverName;
  return (
    `{"time":"${timestamp(unixMs)}","method":null,"scheme":null,"authority":null,"path":null` +
    `,"protocol":"${record.serverName === undefined ? "TCP" : "TLS"}","status":null,"flags":"${record.flags}"` +
    `,"duration_ms":${milliseconds(record.durationMs)},"upstream_ms":${record.connectMs === undefined ? "null" : milliseconds(record.connectMs)}` +
    `,"request_bytes":${record.receivedBytes},"response_bytes":${record.sentBytes},"attempts":${record.attempts}` +
    `,"peer":"${addressAndPort(peer.address, peer.port)}","principal":${optional(peer.principal)},"sni":${optional(sni)}` +
    `,"listener":${known(record.listener)},"route":${known(record.routeId)},"cluster":${known(record.clusterName)}` +
    `,"endpoint":${known(record.endpoint)},"rule":null,"reason":${known(record.reason)}` +
    `,"snapshot":${known(record.snapshotVersion)},"site":null,"passport":null,"client":null` +
    `,"request_id":null,"user_agent":null,"forwarded_for":null,"referer":null,"grpc_status":null}\n`
  );
}

/** Fields of the request that the log tells; first value each. One of these serves line after line. */
const found = {
  requestId: undefined as string | undefined,
  userAgent: undefined as string | undefined,
  forwardedFor: undefined as string | undefined,
  referer: undefined as string | undefined,
};

function toldFields(record: RequestRecord): typeof found {
  found.requestId = undefined;
  found.userAgent = undefined;
  found.forwardedFor = undefined;
  found.referer = undefined;
  const { fields } = record;
  for (let i = 0; i < fields.length; i += 2) {
    switch (fields[i]) {
      case "x-request-id":
        found.requestId ??= fields[i + 1];
        break;
      case "user-agent":
        found.userAgent ??= fields[i + 1];
        break;
      case "x-forwarded-for":
        found.forwardedFor ??= fields[i + 1];
        break;
      case "referer":
        found.referer ??= fields[i + 1];
        break;
    }
  }
  return found;
}

function optional(value: string | undefined): string {
  return value === undefined ? "null" : text(value);
}

/** What is written in the configuration comes again and again: its JSON form is kept. */
function known(value: string | undefined): string {
  if (value === undefined) return "null";
  const kept = knownTexts.get(value);
  if (kept !== undefined) return kept;
  if (knownTexts.size >= MAX_KNOWN_TEXTS) knownTexts.clear();
  const made = text(value);
  knownTexts.set(value, made);
  return made;
}

/** Texts whose JSON form is kept; more than this (reasons that tell numbers, say) and keeping starts over. */
const MAX_KNOWN_TEXTS = 4096;
const knownTexts = new Map<string, string>();

/** A JSON string. Nearly all are plain. */
function text(value: string): string {
  return PLAIN.test(value) ? `"${value}"` : asciiJson(value);
}

/** JSON in ASCII alone (RFC 8259 7: any character may be escaped), so that a line is as many bytes as it has characters. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^\x00-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function milliseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** The part down to the second is kept for as long as it lasts. */
function timestamp(unixMs: number): string {
  const whole = Math.floor(unixMs);
  const second = Math.floor(whole / 1000);
  if (second !== keptSecond) {
    keptSecond = second;
    keptText = new Date(second * 1000).toISOString().slice(0, 20);
  }
  const ms = whole - second * 1000;
  return `${keptText}${ms < 10 ? "00" : ms < 100 ? "0" : ""}${ms}Z`;
}

let keptSecond = Number.NaN;
let keptText = "";
