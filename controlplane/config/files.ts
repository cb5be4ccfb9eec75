/** Files that objects name: certificates, keys, authorities. Their content is looked at here and never kept or shown. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { AnyResource } from "./kinds/index.ts";
import type { ClientTlsSettings, DestinationRuleSpec } from "./kinds/istio/destination-rule.ts";
import type { GatewayServerTls, GatewaySpec } from "./kinds/istio/gateway.ts";
import { asksClients } from "./kinds/istio/server-tls.ts";
import type { Finding } from "./kinds/kind.ts";

/** Reads a file that an object names. */
export interface FileReader {
  read(path: string): { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reason: string };
}

type At = readonly (string | number)[];

/** Missing, unreadable or mismatched files of an object. Paths start below `spec`. */
export function checkFiles(object: Pick<AnyResource, "kind" | "spec">, files: FileReader): readonly Finding[] {
  const check = new FileCheck(files);
  switch (object.kind) {
    case "Gateway":
      for (const [index, { tls }] of (object.spec as GatewaySpec).servers.entries())
        if (tls !== undefined) check.server(tls, ["servers", index, "tls"]);
      break;
    case "DestinationRule":
      for (const { tls, at } of clientSettings(object.spec as DestinationRuleSpec)) check.client(tls, at);
      break;
    default:
      break;
  }
  return check.found;
}

/** Every `tls` of a rule, with its place. */
function clientSettings(spec: DestinationRuleSpec): readonly { readonly tls: ClientTlsSettings; readonly at: At }[] {
  const policies = [
    { policy: spec.trafficPolicy, at: ["trafficPolicy"] as At },
    ...spec.subsets.map(({ trafficPolicy }, index) => ({ policy: trafficPolicy, at: ["subsets", index, "trafficPolicy"] })),
  ];
  const all = policies.flatMap(({ policy, at }) => [
    { tls: policy?.tls, at: [...at, "tls"] },
    ...(policy?.portLevelSettings ?? []).map(({ tls }, index) => ({ tls, at: [...at, "portLevelSettings", index, "tls"] })),
  ]);
  return all.flatMap(({ tls, at }) => (tls === undefined ? [] : [{ tls, at }]));
}

const CERTIFICATE = "a PEM certificate";

class FileCheck {
  readonly found: Finding[] = [];
  readonly #files: FileReader;

  constructor(files: FileReader) {
    this.#files = files;
  }

  server(tls: GatewayServerTls, at: At): void {
    const { mode, serverCertificate, privateKey, caCertificates, caCrl, tlsCertificates } = tls;
    if (mode !== "SIMPLE" && !asksClients(mode)) return;
    this.#pair(serverCertificate, privateKey, at, "serverCertificate");
    tlsCertificates.forEach((one, index) => {
      const here = [...at, "tlsCertificates", index];
      this.#pair(one.serverCertificate, one.privateKey, here, "serverCertificate");
      if (asksClients(mode)) this.#authorities(one.caCertificates, here);
    });
    if (!asksClients(mode)) return;
    this.#authorities(caCertificates, at);
    this.#revocations(caCrl, at);
  }

  client({ mode, clientCertificate, privateKey, caCertificates, caCrl }: ClientTlsSettings, at: At): void {
    if (mode === "MUTUAL") this.#pair(clientCertificate, privateKey, at, "clientCertificate");
    if (mode !== "SIMPLE" && mode !== "MUTUAL") return;
    this.#authorities(caCertificates, at);
    this.#revocations(caCrl, at);
  }

  #pair(certificateFile: string | undefined, keyFile: string | undefined, at: At, field: string): void {
    if (!certificateFile || !keyFile) return;
    const certificate = this.#read(certificateFile, CERTIFICATE, [...at, field], (text) => new X509Certificate(text));
    const key = this.#read(keyFile, "an unencrypted PEM private key", [...at, "privateKey"], (text) => createPrivateKey(text));
    if (certificate === undefined || key === undefined || certificate.checkPrivateKey(key)) return;
    const message = `the key in ${keyFile} does not belong to the first certificate in ${certificateFile}; the leaf must come first`;
    this.found.push({ path: [...at, "privateKey"], message });
  }

  #authorities(file: string | undefined, at: At): void {
    if (file) this.#read(file, CERTIFICATE, [...at, "caCertificates"], (text) => new X509Certificate(text));
  }

  #revocations(file: string | undefined, at: At): void {
    if (file) this.#read(file, "a PEM revocation list", [...at, "caCrl"], (text) => createSecureContext({ crl: text }));
  }

  #read<T>(file: string, what: string, path: At, parse: (text: string) => T): T | undefined {
    const read = this.#files.read(file);
    if (!read.ok) {
      this.found.push({ path, message: `the file ${file} cannot be read: ${read.reason}` });
      return undefined;
    }
    try {
      return parse(read.text);
    } catch {
      // The parser's own words may quote the file.
      this.found.push({ path, message: `the file ${file} is not ${what}` });
      return undefined;
    }
  }
}
