/** Redirects: where to, made of what the request was and what the route changes about it. */
import type { MatchTest } from "../compile/match.ts";
import { NO_BODY } from "../http/message.ts";
import type { HttpsRedirect, RedirectAction } from "../ir/index.ts";
import { hostOf, portOf } from "../match/host.ts";
import type { RequestView } from "../match/request.ts";
import type { RespondStep } from "../step.ts";
import { replaceMatched } from "./rewrite.ts";

export function redirect(action: RedirectAction, match: MatchTest | undefined, request: RequestView): RespondStep {
  const scheme = action.scheme ?? request.scheme;
  const path = redirectPath(action, match, request.path);
  const query = request.query === "" || path.includes("?") ? "" : `?${request.query}`;
  return redirectTo(action.status, `${scheme}://${redirectAuthority(action, scheme, request)}${path}${query}`);
}

/** The same place over https. */
export function redirectToHttps(action: HttpsRedirect, request: RequestView): RespondStep {
  const port = action.port === undefined || action.port === 443 ? "" : `:${action.port}`;
  const query = request.query === "" ? "" : `?${request.query}`;
  return redirectTo(action.status, `https://${hostOf(request.authority)}${port}${request.path}${query}`);
}

function redirectTo(status: number, location: string): RespondStep {
  return { kind: "respond", head: { status, fields: ["location", location], body: NO_BODY }, body: "", close: false };
}

function redirectPath(action: RedirectAction, match: MatchTest | undefined, path: string): string {
  if (action.path !== undefined) return action.path.startsWith("/") ? action.path : `/${action.path}`;
  return action.prefix === undefined ? path : replaceMatched(action.prefix, match, path);
}

function redirectAuthority(action: RedirectAction, scheme: string, request: RequestView): string {
  const authority = action.authority ?? request.authority;
  switch (action.port) {
    case undefined:
      // The default port of the scheme that was left would be wrong for the one that is entered.
      return action.authority === undefined && scheme !== request.scheme && portOf(authority) === defaultPort(request.scheme)
        ? hostOf(authority)
        : authority;
    case "from-protocol-default":
      return hostOf(authority);
    case "from-request":
      return withPort(hostOf(authority), request.servicePort, scheme);
    default:
      return withPort(hostOf(authority), action.port, scheme);
  }
}

function withPort(host: string, port: number, scheme: string): string {
  return String(port) === defaultPort(scheme) ? host : `${host}:${port}`;
}

function defaultPort(scheme: string): string {
  return scheme === "https" ? "443" : "80";
}
