/** What a proxy request asks for, read once. */
import type { RequestHead } from "../http/message.ts";
import type { ClientTls } from "../ir/index.ts";
import type { PeerInfo } from "../ports.ts";
import type { Upgrade } from "../step.ts";
import { DEFAULT_PORT, type EgressRequest } from "./decide.ts";
import { type Host, parseConnectAuthority, parseHostPort } from "./name.ts";
import { pathOf } from "./path.ts";
import { HTTPS_IN_THE_CLEAR, NO_TUNNELS, NOT_A_PROXY_REQUEST, notCanonical, type Refusal } from "./refusal.ts";

export interface AskedTarget {
  readonly head: RequestHead;
  /** The target's form as it came (RFC 9112 3.2). */
  readonly form: "origin" | "absolute" | "authority" | "asterisk";
  /**
   * Nobody on the way from the caller can read or change the request (a service binding, TLS), so that an https URI may be asked for as a
   * request. Otherwise that takes a tunnel.
   */
  readonly confidential: boolean;
}

/** A request as the listener hands it over. */
export interface ProxyRequest extends AskedTarget {
  /** Belongs to the exchange from here on. */
  readonly head: RequestHead;
  readonly connectionOptions: readonly string[] | undefined;
  readonly protocol: string;
  readonly listener: string;
  readonly peer: PeerInfo;
  /** The protocol that the caller wants to go on with; undefined: none, or the runtime does not pass it on. */
  readonly switchTo?: Upgrade | undefined;
  /** Name of the Worker that called by its service binding; undefined: it came otherwise. */
  readonly service?: string | undefined;
}

/** Or why it cannot be told. Host against target was compared before (RFC 9112 3.2.2): by the codec, or by the driver. */
export function readTarget(asked: AskedTarget, tunnels: boolean): EgressRequest | Refusal {
  const { head, form, confidential } = asked;
  const { method, scheme } = head;
  if (form === "authority") {
    if (!tunnels) return NO_TUNNELS;
    const parsed = parseConnectAuthority(head.authority);
    return parsed.ok ? { ...parsed.value, kind: "tunnel", method, path: "" } : notCanonical(parsed.error);
  }
  if (form !== "absolute") return NOT_A_PROXY_REQUEST;
  if (scheme === "https" && !confidential) return HTTPS_IN_THE_CLEAR;
  const parsed = parseHostPort(head.authority);
  if (!parsed.ok) return notCanonical(parsed.error);
  const { host, port = DEFAULT_PORT[scheme] } = parsed.value;
  return { host, port, kind: scheme, method, path: pathOf(head.target) };
}

/** The authority of a request that goes on with TLS instead of in the clear. */
export function httpsAuthority(host: Host, port: number): string {
  return port === DEFAULT_PORT.https ? host.text : `${host.text}:${port}`;
}

/** The certificate has to be for the name that was asked for. An address is no SNI (RFC 6066 3). */
export function tlsTo(host: Host): ClientTls {
  const serverName = host.kind === "name" ? { serverName: host.text } : {};
  return { mode: "simple", ...serverName, subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false };
}
