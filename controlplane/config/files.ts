/** Files that objects name: certificates, keys, authorities. Their content is looked at here and never kept or shown. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { AnyResource } from "./kinds/index.ts";
import type { ClientTlsSettings, DestinationRuleSpec } from "./kinds/istio/destination-rule.ts";
import type { GatewaySpec } from "./kinds/istio/gateway.ts";
import type { Finding } from "./kinds/kind.ts";

/** Reads a file that an object names. */
export interface FileReader {
  read(path: string): { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reason: string };
}

/** Missing, unreadable or mismatched files of an object. Paths start below `spec`. */
export function checkFiles(object: Pick<AnyResource, "kind" | "spec">, files: FileReader): readonly Finding[] {
  switch (object.kind) {
    case "Gateway":
      return checkGateway(object.spec as GatewaySpec, files);
    case "DestinationRule":
      return checkDestinationRule(object.spec as DestinationRuleSpec, files);
    default:
      return [];
  }
}

function checkGateway(spec: GatewaySpec, files: FileReader): readonly Finding[] {
  return spec.servers.flatMap(({ tls }, index) => {
    if (tls?.mode !== "SIMPLE" || !tls.serverCertificate || !tls.privateKey) return [];
    const at = ["servers", index, "tls"];
    const certificate = readWith(files, tls.serverCertificate, "a PEM certificate", (text) => new X509Certificate(text));
    const key = readWith(files, tls.privateKey, "an unencrypted PEM private key", (text) => createPrivateKey(text));
    const found: Finding[] = [];
    if (!certificate.ok) found.push({ path: [...at, "serverCertificate"], message: certificate.reason });
    if (!key.ok) found.push({ path: [...at, "privateKey"], message: key.reason });
    if (certificate.ok && key.ok && !certificate.value.checkPrivateKey(key.value)) {
      found.push({
        path: [...at, "privateKey"],
        message: `the key in ${tls.privateKey} does not belong to the first certificate in ${tls.serverCertificate}; the leaf must come first`,
      });
    }
    return found;
  });
}

type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

function readWith<T>(files: FileReader, path: string, what: string, parse: (text: string) => T): Read<T> {
  const file = files.read(path);
  if (!file.ok) return { ok: false, reason: `the file ${path} cannot be read: ${file.reason}` };
  try {
    return { ok: true, value: parse(file.text) };
  } catch {
    // The parser's own words may quote the file.
    return { ok: false, reason: `the file ${path} is not ${what}` };
  }
}

function checkDestinationRule(spec: DestinationRuleSpec, files: FileReader): readonly Finding[] {
  const policies = [
    { policy: spec.trafficPolicy, at: ["trafficPolicy"] as (string | number)[] },
    ...spec.subsets.map(({ trafficPolicy }, index) => ({ policy: trafficPolicy, at: ["subsets", index, "trafficPolicy"] })),
  ];
  return policies.flatMap(({ policy, at }) => [
    ...checkAuthority(policy?.tls, [...at, "tls"], files),
    ...(policy?.portLevelSettings ?? []).flatMap(({ tls }, index) =>
      checkAuthority(tls, [...at, "portLevelSettings", index, "tls"], files),
    ),
  ]);
}

function checkAuthority(
  tls: ClientTlsSettings | undefined,
  at: readonly (string | number)[],
  files: FileReader,
): readonly Finding[] {
  if (tls?.mode !== "SIMPLE" || !tls.caCertificates) return [];
  const read = readWith(files, tls.caCertificates, "a PEM certificate", (text) => new X509Certificate(text));
  return read.ok ? [] : [{ path: [...at, "caCertificates"], message: read.reason }];
}
