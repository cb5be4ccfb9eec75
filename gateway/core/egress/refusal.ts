/** Answers of the egress gateway itself: which rule, and why, in the fields and in the body. */
import type { ErrorCode } from "../error.ts";
import type { QuotaRefusal } from "../filter/quota-refusal.ts";
import type { ReadonlyFieldList } from "../http/message.ts";
import { respondError } from "../respond.ts";
import { unreachable } from "../result.ts";
import type { AttemptFailure, RespondStep } from "../step.ts";
import type { EgressDenial } from "./decide.ts";
import type { NameProblem } from "./name.ts";
import type { CredentialVerdict } from "./ports.ts";

export interface Refusal {
  readonly error: ErrorCode;
  /** Where the error's own status does not say it: a forward proxy answers 502 and 504 for its origins (RFC 9110 15.6.3, 15.6.5). */
  readonly status?: number;
  /** Stable word for logs and tests, finer than the error. */
  readonly code: string;
  readonly rule?: string | undefined;
  /** One sentence for people. */
  readonly reason: string;
  /** Further fields, such as Retry-After. */
  readonly fields?: ReadonlyFieldList;
  /** Instead of the sentence about the error. */
  readonly body?: string;
}

export interface RefusalSettings {
  readonly realm: string;
  /** Shown when not undefined. */
  readonly version: string | undefined;
  readonly close: boolean;
}

export function refusalStep(refusal: Refusal, request: ReadonlyFieldList, settings: RefusalSettings): RespondStep {
  const reason = printable(refusal.reason);
  const rule = refusal.rule === undefined ? undefined : printable(refusal.rule);
  const detail = rule === undefined ? reason : `${reason} (rule ${rule})`;
  const step = respondError(refusal.error, request, detail, refusal.status, settings.close);
  const { fields } = step.head;
  fields.push("x-tidegate-reason", reason);
  if (rule !== undefined) fields.push("x-tidegate-rule", rule);
  if (settings.version !== undefined) fields.push("x-tidegate-snapshot", settings.version);
  // RFC 9110 15.5.8: 407 has to come with a challenge.
  if (refusal.error === "proxy_auth_required") {
    fields.push("proxy-authenticate", `Basic realm="${quotable(settings.realm)}", charset="UTF-8"`);
  }
  if (refusal.fields !== undefined) fields.push(...refusal.fields);
  return refusal.body === undefined || step.body.length === 0 ? step : withBody(step, refusal.body);
}

/** A body from elsewhere stands in for the sentence; its own content-type came with the fields. gRPC clients read none. */
function withBody(step: RespondStep, text: string): RespondStep {
  const body = new TextEncoder().encode(text);
  const fields = step.head.fields.slice(2);
  return { ...step, head: { ...step.head, fields, body: { kind: "length", bytes: body.length } }, body };
}

/** ASCII that may stand in a field: what comes from configuration can hold anything. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}

/** RFC 9110 5.6.4 quoted-string content. */
function quotable(text: string): string {
  return printable(text).replace(/["\\]/g, "\\$&");
}

export const INTERNAL: Refusal = { error: "internal", code: "internal", reason: "the gateway lost its place in this request" };
export const NOT_A_PROXY_REQUEST: Refusal = {
  error: "bad_request",
  code: "not_a_proxy_request",
  reason: "this is a forward proxy: send the whole URI (GET http://host/path) or CONNECT host:port",
};
/** The section's time is over and its fail mode is `closed`, or there never was one. */
export function notInForce(why: string): Refusal {
  return { error: "denied", code: "not_in_force", reason: why };
}
export const HTTPS_IN_THE_CLEAR: Refusal = {
  error: "not_supported",
  code: "https_in_the_clear",
  reason: "an https URI cannot be requested in the clear: use CONNECT",
};
export const NO_TUNNELS: Refusal = {
  error: "not_supported",
  code: "no_tunnels",
  reason: "this gateway opens no tunnels (CONNECT): ask for the URI itself",
};
export const LOOP: Refusal = {
  error: "loop_detected",
  code: "loop_detected",
  reason: "Via says that the request has come through here too often already",
};
/** Only an operator can mend it: tells which secret, never what it is. */
export function secretUnusable(
  { namespace, name, key }: { readonly namespace: string; readonly name: string; readonly key: string },
  why: string,
  rule: string | undefined,
): Refusal {
  return {
    error: "internal",
    status: 503,
    code: "secret_unusable",
    rule,
    reason: `the secret ${namespace}/${name}, key ${key}, ${why}`,
  };
}
/** The caller would be told the credential. */
export function echoed(rule: string | undefined): Refusal {
  const reason = "TRACE would send the credential back that this rule adds";
  return { error: "denied", code: "credential_echoed", rule, reason };
}
/** Where the runtime resolves names itself, there is no dialling an address for one. */
export const STATIC_HOST: Refusal = {
  error: "not_supported",
  code: "static_host",
  reason: "this host has addresses of its own, which this gateway cannot dial",
};
export const TOO_MANY_TUNNELS: Refusal = { error: "overload", code: "too_many_tunnels", reason: "too many tunnels are open" };
export const CREDENTIALS_OVERLOAD: Refusal = {
  error: "overload",
  code: "credentials_overload",
  reason: "the proxy credential could not be checked in time",
};
const CREDENTIALS_THROTTLED: Refusal = {
  error: "quota_exceeded",
  code: "credentials_throttled",
  reason: "too many wrong proxy credentials from this address lately",
  fields: ["retry-after", "60"],
};

export const QUOTA_TOO_LATE: Refusal = {
  error: "quota_unavailable",
  code: "quota_timeout",
  reason: "the quota did not answer in time",
};

/** The quota's own answer: status, fields and body are its rule's to say. */
export function overQuota(verdict: QuotaRefusal): Refusal {
  const { code, status, rule, reason, fields, body } = verdict;
  return { error: code, status, code, rule, reason, fields, body };
}

/** What became of the client's proxy credential. */
export type CredentialState = CredentialVerdict | "absent" | "malformed";

/** Whether a better credential would change anything decides between 403 and 407. */
export function deniedTo(credential: CredentialState, denial: EgressDenial): Refusal {
  const { code, rule, reason } = denial;
  if (!denial.credentialsMayHelp) return { error: "denied", code, rule, reason };
  const error = "proxy_auth_required";
  switch (credential) {
    case "throttled":
      return CREDENTIALS_THROTTLED;
    case "overloaded":
      return CREDENTIALS_OVERLOAD;
    case "wrong":
    case "malformed":
      return { error, code: "credentials_wrong", rule, reason: `the proxy credential is wrong; without it: ${reason}` };
    case "absent":
    case "valid":
      return { error, code: "credentials_missing", rule, reason: `a proxy credential is needed: ${reason}` };
    default:
      return unreachable(credential);
  }
}

/** A spelling that nobody should send is 403 like every decision; what is no host:port at all is 400. */
export function notCanonical(problem: NameProblem): Refusal {
  const malformed = problem.code === "port" || problem.code === "port_missing" || problem.code === "empty";
  return { error: malformed ? "bad_request" : "denied", code: "name_not_canonical", reason: problem.text };
}

export function unresolved(host: string, why: string | undefined): Refusal {
  const reason = `${host} does not resolve${why === undefined ? "" : `: ${why}`}`;
  return { error: "dns_failure", status: 502, code: "dns_failure", reason };
}

export function resolvedTooLate(host: string): Refusal {
  return { error: "dns_failure", status: 504, code: "dns_timeout", reason: `${host} did not resolve in time` };
}

/** What became of an attempt to reach a checked address. */
export function unreached(host: string, failure: AttemptFailure): Refusal {
  const late = failure.code === "upstream_connect_timeout" || failure.code === "upstream_timeout";
  const status = failure.code === "upstream_overflow" ? 503 : late ? 504 : 502;
  return { error: failure.code, status, code: failure.code, reason: `${host}: ${failure.reason}` };
}

export const NO_ANSWER: AttemptFailure = {
  code: "upstream_timeout",
  reason: "no answer in time",
  neverSent: false,
  replayable: false,
};
/** RFC 9110 7.8. */
export const UNASKED_SWITCH: AttemptFailure = {
  code: "upstream_protocol",
  reason: "it switched to a protocol that nobody asked for",
  neverSent: false,
  replayable: false,
};
/** RFC 9110 15.5.8 is about the next hop: relayed, it would have clients send their proxy password for an origin. */
export const PROXY_STATUS: AttemptFailure = {
  code: "upstream_protocol",
  reason: "it answered 407, which only a proxy may",
  neverSent: false,
  replayable: false,
};
