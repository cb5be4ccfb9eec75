/** Istio VirtualService: which requests match, and where they go. First matching route wins. */
import { defineKind, type Finding } from "../kind.ts";
import { ISTIO_GROUP, ISTIO_VERSIONS } from "./common.ts";
import {
  type HttpHeaders,
  type HttpRoute,
  MESH_GATEWAY,
  type TcpRoute,
  type TlsRoute,
  type VirtualServiceSpec,
  virtualServiceSchema,
} from "./virtual-service-schema.ts";

/** Largest body of a direct response, bytes (as Istio). */
export const MAX_DIRECT_BODY_BYTES = 1024 * 1024;

type At = readonly (string | number)[];

function checkActions(route: HttpRoute, at: At): Finding[] {
  const given = [
    route.route.length > 0 && "route",
    route.redirect && "redirect",
    route.directResponse && "directResponse",
    route.delegate && "delegate",
  ].filter((name) => typeof name === "string");
  if (given.length === 1) return [];
  if (given.length === 0) return [{ path: at, message: "the route does nothing; add route, redirect or directResponse" }];
  return [{ path: [...at, given[1] ?? ""], message: `${given.join(" and ")} exclude one another; keep one of them` }];
}

/** Of connections: somewhere to go, and for TLS the names that lead there. */
function checkConnections(spec: VirtualServiceSpec): Finding[] {
  const tls = spec.tls.flatMap((route, index) => [
    ...checkTarget(route, ["tls", index]),
    ...checkSni(spec, route, ["tls", index]),
  ]);
  return [...tls, ...spec.tcp.flatMap((route, index) => checkTarget(route, ["tcp", index]))];
}

function checkTarget(route: TlsRoute | TcpRoute, at: At): Finding[] {
  if (route.route.length === 0)
    return [{ path: at, message: "the route leads nowhere; add route with at least one destination" }];
  return checkWeights(route, at);
}

function checkSni(spec: VirtualServiceSpec, route: TlsRoute, at: At): Finding[] {
  if (route.match.length === 0)
    return [
      { path: at, message: "a tls route needs a match with sniHosts: the name in the ClientHello is all there is to route by" },
    ];
  return route.match.flatMap(({ sniHosts }, index) => {
    const path = [...at, "match", index, "sniHosts"];
    if (sniHosts.length === 0)
      return [{ path, message: `sniHosts is missing; list names, such as ${spec.hosts[0] ?? "a.example.com"}` }];
    return sniHosts.flatMap((name, i) =>
      spec.hosts.some((host) => isWithin(name, host))
        ? []
        : [
            {
              path: [...path, i],
              message: `"${name}" is not within the hosts of the VirtualService (${spec.hosts.join(", ")}); add it there`,
            },
          ],
    );
  });
}

/** Everything that `name` stands for is covered by `host`. */
function isWithin(name: string, host: string): boolean {
  return (
    name === host || host === "*" || (host.startsWith("*.") && name.length > host.length - 1 && name.endsWith(host.slice(1)))
  );
}

function checkWeights(route: Pick<HttpRoute, "route"> | TlsRoute | TcpRoute, at: At): Finding[] {
  const sum = route.route.reduce((total, { weight }) => total + weight, 0);
  if (route.route.length < 2 || sum > 0) return [];
  return [
    {
      path: [...at, "route"],
      message: "the weights add up to zero, so no destination would get anything; give at least one a weight",
    },
  ];
}

function checkMatches(route: HttpRoute, at: At): Finding[] {
  const found: Finding[] = [];
  route.match.forEach((match, index) => {
    const here = [...at, "match", index];
    if (match.ignoreUriCase && match.uri?.kind === "regex") {
      found.push({
        path: [...here, "ignoreUriCase"],
        message: "ignoreUriCase acts on exact and prefix only; write (?i) at the start of the regex",
      });
    }
    for (const name of Object.keys(match.withoutHeaders)) {
      const [wanted, unwanted] = [match.headers[name], match.withoutHeaders[name]];
      if (wanted && JSON.stringify(wanted) === JSON.stringify(unwanted)) {
        found.push({
          path: [...here, "withoutHeaders", name],
          message: `headers and withoutHeaders ask for the opposite of "${name}"; nothing can match`,
        });
      }
    }
  });
  return found;
}

function checkDetails(route: HttpRoute, at: At): Finding[] {
  const found: Finding[] = [];
  const { redirect, rewrite, directResponse, fault } = route;
  if (redirect?.uri !== undefined && redirect.prefixRewrite !== undefined) {
    found.push({
      path: [...at, "redirect", "prefixRewrite"],
      message: "uri and prefixRewrite exclude one another; keep one of them",
    });
  }
  if (redirect?.port !== undefined && redirect.derivePort !== undefined) {
    found.push({ path: [...at, "redirect", "derivePort"], message: "port and derivePort exclude one another; keep one of them" });
  }
  if (redirect && rewrite) found.push({ path: [...at, "rewrite"], message: "rewrite has no meaning with redirect; remove it" });
  if (rewrite?.uri !== undefined && rewrite.uriRegexRewrite) {
    found.push({
      path: [...at, "rewrite", "uriRegexRewrite"],
      message: "uri and uriRegexRewrite exclude one another; keep one of them",
    });
  }
  if (rewrite && rewrite.uri === undefined && rewrite.authority === undefined && !rewrite.uriRegexRewrite) {
    found.push({ path: [...at, "rewrite"], message: "the rewrite is empty; write uri, uriRegexRewrite or authority" });
  }
  const body = directResponse?.body;
  if (body) {
    if ((body.string === undefined) === (body.bytes === undefined)) {
      found.push({ path: [...at, "directResponse", "body"], message: "a body needs exactly one of string and bytes" });
    }
    const bytes = body.string === undefined ? ((body.bytes?.length ?? 0) * 3) / 4 : new TextEncoder().encode(body.string).length;
    if (bytes > MAX_DIRECT_BODY_BYTES) {
      found.push({
        path: [...at, "directResponse", "body"],
        message: `the body has ${Math.ceil(bytes)} bytes; at most ${MAX_DIRECT_BODY_BYTES} are allowed`,
      });
    }
  }
  if (fault && !fault.delay && !fault.abort)
    found.push({ path: [...at, "fault"], message: "the fault is empty; write delay or abort" });
  if (fault?.delay && (fault.delay.fixedDelay === undefined) === (fault.delay.exponentialDelay === undefined)) {
    found.push({ path: [...at, "fault", "delay"], message: "a delay needs fixedDelay, such as fixedDelay: 5s" });
  }
  const aborts =
    fault?.abort && [fault.abort.httpStatus, fault.abort.grpcStatus, fault.abort.http2Error].filter((kind) => kind !== undefined);
  if (aborts && aborts.length !== 1)
    found.push({ path: [...at, "fault", "abort"], message: "an abort needs exactly one status, such as httpStatus: 503" });
  found.push(...checkHeaderOperations(route.headers, [...at, "headers"]));
  route.route.forEach((to, index) => {
    found.push(...checkHeaderOperations(to.headers, [...at, "route", index, "headers"]));
  });
  return found;
}

function checkHeaderOperations(ops: HttpHeaders | undefined, at: At): Finding[] {
  const found: Finding[] = [];
  for (const side of ["request", "response"] as const) {
    for (const verb of ["set", "add"] as const) {
      for (const name of Object.keys(ops?.[side]?.[verb] ?? {})) {
        const authority = side === "request" && (name === ":authority" || name === "host");
        if ((name.startsWith(":") || name === "host") && !authority) {
          found.push({
            path: [...at, side, verb, name],
            message: `"${name}" cannot be changed here; only the request's host or :authority can be set`,
          });
        }
      }
    }
  }
  return found;
}

export const virtualService = defineKind({
  kind: "VirtualService",
  group: ISTIO_GROUP,
  versions: ISTIO_VERSIONS,
  plural: "virtualservices",
  description: "Which requests match, and where they go.",
  schema: virtualServiceSchema,
  check(spec) {
    const found: Finding[] = [];
    if (spec.hosts.length === 0) found.push({ path: ["hosts"], message: "at least one host is needed" });
    const seen = new Set<string>();
    spec.hosts.forEach((host, index) => {
      if (seen.has(host)) found.push({ path: ["hosts", index], message: `the host "${host}" is listed twice; remove one` });
      seen.add(host);
      if (host === "*" && spec.gateways.includes(MESH_GATEWAY)) {
        found.push({
          path: ["hosts", index],
          message: 'the host "*" on the mesh gateway would catch all traffic; name the hosts, or list gateways without mesh',
        });
      }
    });
    if (spec.http.length + spec.tls.length + spec.tcp.length === 0) {
      found.push({ path: [], message: "there is no route; add http, tls or tcp" });
    }
    found.push(...checkConnections(spec));
    const names = new Map<string, number>();
    spec.http.forEach((route, index) => {
      const at = ["http", index];
      found.push(...checkActions(route, at), ...checkWeights(route, at), ...checkMatches(route, at), ...checkDetails(route, at));
      if (route.name === "") return;
      const before = names.get(route.name);
      if (before !== undefined)
        found.push({
          path: [...at, "name"],
          message: `the route name "${route.name}" is taken by http[${before}]; names must differ`,
        });
      names.set(route.name, before ?? index);
    });
    return found;
  },
});
