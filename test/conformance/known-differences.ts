/**
 * Where a runtime does not do as the case table says: every one of them, with the reason and what a user is told. The list only shrinks: a case that passes all the
 * same fails here.
 */
export type Runtime = "node" | "workerd";

export interface KnownDifference {
  readonly runtimes: readonly Runtime[];
  /** `group: name`. */
  readonly cases: readonly string[];
  /** `answered`: the runtime answers otherwise. `impossible`: what the case is about cannot come about there. */
  readonly kind: "answered" | "impossible";
  readonly reason: string;
  /** What documentation and the status of a site say. */
  readonly status: string;
}

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    runtimes: ["node", "workerd"],
    cases: ["paths: backslashes are slashes"],
    kind: "answered",
    reason: "what reads the request refuses a backslash before core sees it",
    status: "A backslash in a request's path is refused with 400.",
  },
  {
    runtimes: ["workerd"],
    cases: [
      "hosts: `*` takes an empty authority, and the origin is told its own name",
      "responses: no https redirect without a host to go to",
    ],
    kind: "answered",
    reason: "the platform refuses HTTP/1.0 requests without Host itself",
    status: "A request without Host is refused by the platform with 400; it is not logged.",
  },
  {
    runtimes: ["workerd"],
    cases: ["forwarding: Via of an HTTP/1.0 request"],
    kind: "answered",
    reason: "the platform does not tell HTTP/1.0 from 1.1",
    status: "Via and the log say 1.1 for every client.",
  },
  {
    runtimes: ["workerd"],
    cases: ["paths: a fragment"],
    kind: "answered",
    reason: "the platform cuts a fragment off before anything sees it",
    status: "A fragment in a request's target is ignored, not refused.",
  },
  {
    runtimes: ["workerd"],
    cases: ["messages: an apostrophe in a query"],
    kind: "answered",
    reason: "fetch takes a URL, and URLs write an apostrophe in a query as %27",
    status: "An origin gets %27 for an apostrophe in a query; routes and quotas see it as it came.",
  },
  {
    runtimes: ["workerd"],
    cases: ["messages: Cache-Control with no value"],
    kind: "answered",
    reason: "the platform leaves out a Cache-Control without a value",
    status: "An empty Cache-Control field does not arrive.",
  },
  {
    runtimes: ["workerd"],
    cases: ["paths: asterisk form"],
    kind: "answered",
    reason: "fetch cannot ask for `*`",
    status: "OPTIONS * is answered with 501 where its route forwards.",
  },
  {
    runtimes: ["workerd"],
    cases: ["responses: CONNECT is no request for a gateway"],
    kind: "answered",
    reason: "the platform answers CONNECT itself",
    status: "CONNECT is refused by the platform with 500, not with 501.",
  },
  {
    runtimes: ["workerd"],
    cases: ["forwarding: trailers are asked for where the client asked"],
    kind: "answered",
    reason: "fetch has no trailer fields to pass on, so none are asked for",
    status: "Trailer fields of a response do not arrive.",
  },
  {
    runtimes: ["workerd"],
    cases: ["hops: an origin may ask for another protocol"],
    kind: "answered",
    reason: "the platform keeps a response's Upgrade field to itself",
    status: "A 426 of the origin does not say which protocol it asks for.",
  },
  {
    runtimes: ["workerd"],
    cases: ["failures: upstream_protocol"],
    kind: "answered",
    reason: "fetch says of a broken answer that the connection was lost",
    status: "An origin that breaks HTTP is reported as a reset: 503 and flag UC instead of 502 and UPE.",
  },
  {
    runtimes: ["workerd"],
    cases: ["retries: reset before the request was sent, POST"],
    kind: "impossible",
    reason: "fetch does not say whether anything was sent when a connection is lost",
    status:
      "reset-before-request and connect-failure cover only failures that the platform words clearly; others count as resets after sending.",
  },
  {
    runtimes: ["workerd"],
    cases: ["retries: a full pool is not tried again", "failures: upstream_overflow"],
    kind: "impossible",
    reason: "connections to origins are the platform's: there is no pool of ours to be full",
    status: "Connection pool limits of a cluster have no effect at the edge.",
  },
  {
    runtimes: ["workerd"],
    cases: ["failures: upstream_timeout"],
    kind: "impossible",
    reason: "only the driver's own timers end an attempt for its time, and core is asked then",
    status: "Timeouts are the route's and the attempt's; an upstream idle timeout has no effect at the edge.",
  },
];

export function differenceOf(runtime: Runtime, group: string, name: string): KnownDifference | undefined {
  return KNOWN_DIFFERENCES.find(({ runtimes, cases }) => runtimes.includes(runtime) && cases.includes(`${group}: ${name}`));
}
