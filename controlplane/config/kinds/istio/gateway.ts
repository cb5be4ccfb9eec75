/** Istio Gateway: ports that gateway pools open, the hosts on them, and TLS. */
import { z } from "zod";
import { hostProblem, ipProblem } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { isDnsLabel, labels, portNumber } from "../scalars.ts";
import { ISTIO_GROUP, ISTIO_VERSIONS, portProtocol } from "./common.ts";
import { checkTermination } from "./server-tls.ts";
import { hashPin, spkiPin } from "./tls.ts";

const TLS_MODES = ["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"] as const;
const TLS_VERSIONS = ["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"] as const;

/** `[namespace/]host`; parsed to both. Namespace `*` (default): VirtualServices of any; `.`: of the Gateway's own. */
const serverHost = z
  .string()
  .meta({ description: "[namespace/]host; namespace * (default), . or a name" })
  .transform((text, ctx): { readonly namespace: string; readonly host: string } => {
    const slash = text.indexOf("/");
    const namespace = slash === -1 ? "*" : text.slice(0, slash);
    const host = text.slice(slash + 1);
    if (namespace !== "*" && namespace !== "." && !isDnsLabel(namespace)) {
      ctx.addIssue(`"${text}": "${namespace}" is not a namespace; write "*", "." or a name before the "/"`);
      return z.NEVER;
    }
    const problem = hostProblem(host, { wildcard: true, any: true, ip: true });
    if (problem) {
      ctx.addIssue(problem);
      return z.NEVER;
    }
    return { namespace, host };
  });

const tlsCertificate = z.strictObject({
  serverCertificate: z.string().min(1),
  privateKey: z.string().min(1),
  caCertificates: z.string().optional(),
});

const serverTls = z.strictObject({
  httpsRedirect: z.boolean().default(false),
  mode: z.enum(TLS_MODES).optional(),
  serverCertificate: z.string().optional().meta({ description: "PEM file with the chain, leaf first" }),
  privateKey: z.string().optional().meta({ description: "PEM file with the private key" }),
  caCertificates: z.string().optional().meta({ description: "PEM file with the clients' authorities" }),
  caCrl: z.string().optional().meta({ description: "PEM file with revocation lists, one of every authority" }),
  credentialName: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "Secret with tls.crt and tls.key, and ca.crt and ca.crl for clients" }),
  credentialNames: z
    .array(z.string().min(1))
    .max(2)
    .default([])
    .meta({ description: "Several, with keys of different types; ca.crt and ca.crl are the first one's" }),
  caCertCredentialName: z.string().min(1).optional().meta({ description: "Secret with ca.crt and ca.crl" }),
  tlsCertificates: z
    .array(tlsCertificate)
    .max(2)
    .default([])
    .meta({ description: "Several, with keys of different types (RSA and ECDSA)" }),
  subjectAltNames: z.array(z.string().min(1)).default([]).meta({ description: "Of clients; one has to be in the certificate" }),
  verifyCertificateSpki: z
    .array(spkiPin)
    .default([])
    .meta({ description: "SHA-256 of clients' public keys, base64; one of these or of verifyCertificateHash has to match" }),
  verifyCertificateHash: z.array(hashPin).default([]).meta({ description: "SHA-256 of clients' certificates, hex" }),
  minProtocolVersion: z.enum(TLS_VERSIONS).default("TLS_AUTO").meta({ description: "Default TLS 1.2" }),
  maxProtocolVersion: z.enum(TLS_VERSIONS).default("TLS_AUTO").meta({ description: "Default TLS 1.3" }),
  cipherSuites: z
    .array(z.string())
    .default([])
    .meta({ description: "For TLS 1.2, OpenSSL names; empty: the runtime's defaults" }),
  insecureSkipVerify: z.boolean().default(false).meta({ description: "The chain of a client's certificate is not checked" }),
});

const server = z.strictObject({
  port: z.strictObject({
    number: portNumber,
    protocol: portProtocol,
    name: z.string().default(""),
    targetPort: portNumber.optional(),
  }),
  bind: z
    .string()
    .optional()
    .meta({ description: "IP address to listen on" })
    .superRefine((text, ctx) => {
      if (text === undefined || text.startsWith("unix://")) return;
      const problem = ipProblem(text);
      if (problem) ctx.addIssue(problem);
    }),
  hosts: z.array(serverHost),
  tls: serverTls.optional(),
  defaultEndpoint: z.string().optional(),
  name: z.string().default(""),
});

const gatewaySchema = z.strictObject({
  selector: labels.default({}).meta({ description: "Labels of the gateway pools; none: every pool" }),
  servers: z.array(server),
});
export type GatewaySpec = z.output<typeof gatewaySchema>;
export type GatewayServer = GatewaySpec["servers"][number];
export type GatewayServerTls = NonNullable<GatewayServer["tls"]>;

const TLS_PROTOCOLS: readonly string[] = ["HTTPS", "TLS"];
/** Modes in which the gateway shows certificates of the configuration. */
const TERMINATING: readonly string[] = ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"];

function checkServer(server: GatewayServer, at: readonly (string | number)[]): Finding[] {
  const found: Finding[] = [];
  if (server.hosts.length === 0)
    found.push({ path: [...at, "hosts"], message: 'a server needs at least one host; "*" means every host' });
  const seen = new Set<string>();
  server.hosts.forEach(({ namespace, host }, index) => {
    const key = `${namespace}/${host}`;
    if (seen.has(key)) found.push({ path: [...at, "hosts", index], message: `the host "${host}" is listed twice; remove one` });
    seen.add(key);
  });
  const wantsTls = TLS_PROTOCOLS.includes(server.port.protocol);
  if (wantsTls && !server.tls) {
    found.push({
      path: at,
      message: `protocol ${server.port.protocol} needs tls; add tls with mode SIMPLE, serverCertificate and privateKey`,
    });
  }
  if (server.tls) found.push(...checkTls(server.tls, wantsTls, server.port.protocol, [...at, "tls"]));
  return found;
}

function checkTls(tls: GatewayServerTls, wantsTls: boolean, protocol: string, at: readonly (string | number)[]): Finding[] {
  const found: Finding[] = [];
  if (!wantsTls && tls.mode !== undefined) {
    found.push({
      path: [...at, "mode"],
      message: `tls.mode has no meaning with protocol ${protocol}; use protocol HTTPS or TLS, or remove mode`,
    });
  }
  if (wantsTls && tls.httpsRedirect) {
    found.push({
      path: [...at, "httpsRedirect"],
      message: `httpsRedirect belongs on a plain HTTP server, this one is ${protocol}; remove it`,
      severity: "warning",
    });
  }
  if (wantsTls && tls.mode !== undefined && TERMINATING.includes(tls.mode)) found.push(...checkTermination(tls, at));
  if (wantsTls && !TERMINATING.includes(tls.mode ?? "PASSTHROUGH")) found.push(...checkThrough(tls, at));
  if (
    TLS_VERSIONS.indexOf(tls.maxProtocolVersion) > 0 &&
    TLS_VERSIONS.indexOf(tls.minProtocolVersion) > TLS_VERSIONS.indexOf(tls.maxProtocolVersion)
  ) {
    found.push({
      path: [...at, "minProtocolVersion"],
      message: `minProtocolVersion ${tls.minProtocolVersion} is above maxProtocolVersion ${tls.maxProtocolVersion}; no client could connect`,
    });
  }
  return found;
}

/** TLS that goes through shows nobody a certificate of ours. */
function checkThrough(tls: GatewayServerTls, at: readonly (string | number)[]): Finding[] {
  const fields = ["serverCertificate", "privateKey", "credentialName"] as const;
  const given = fields.filter((field) => tls[field] !== undefined);
  if (given.length === 0 || tls.mode === "ISTIO_MUTUAL") return [];
  const mode = tls.mode ?? "PASSTHROUGH (which no mode means)";
  const message = `${given.join(" and ")}: no effect with mode ${mode}: TLS goes through as it comes; write mode: SIMPLE to end it here`;
  return [{ path: at, message, severity: "warning" }];
}

export const gateway = defineKind({
  kind: "Gateway",
  group: ISTIO_GROUP,
  versions: ISTIO_VERSIONS,
  plural: "gateways",
  description: "Ports that gateways open, the hosts on them, and TLS.",
  schema: gatewaySchema,
  check(spec) {
    const found: Finding[] = [];
    if (spec.servers.length === 0) found.push({ path: ["servers"], message: "a Gateway needs at least one server" });
    const names = new Map<string, number>();
    spec.servers.forEach((server, index) => {
      found.push(...checkServer(server, ["servers", index]));
      for (const [field, name] of [
        ["name", server.name],
        ["port", server.port.name],
      ] as const) {
        if (name === "") continue;
        const key = `${field} ${name}`;
        const before = names.get(key);
        const path = field === "name" ? ["servers", index, "name"] : ["servers", index, "port", "name"];
        if (before !== undefined)
          found.push({ path, message: `the name "${name}" is taken by servers[${before}]; names must differ within a Gateway` });
        else names.set(key, index);
      }
    });
    return found;
  },
});
