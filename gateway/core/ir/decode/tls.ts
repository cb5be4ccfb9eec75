import type { ServerTls } from "../listener.ts";
import type { CertificateFiles, ClientCertificateRules, ClientTls, ServerCertificates } from "../tls.ts";
import { array, boolean, oneOf, text } from "./check.ts";
import { hostPattern, names, someText } from "./common.ts";
import type { Issues } from "./issues.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { object, optional, refined, type Shape, variants } from "./object.ts";

const tlsVersion = oneOf("TLSv1.2", "TLSv1.3");

const clientRules = object<ClientCertificateRules>({
  caFile: optional(someText),
  crlFile: optional(someText),
  subjectAltNames: names,
  spkiPins: array(text({ max: 44, min: 44, pattern: /^[A-Za-z0-9+/]{43}=$/, is: "a SHA-256 in base64" }), LIMITS.listLength),
  hashPins: array(text({ max: 64, min: 64, pattern: /^[0-9a-f]+$/, is: "a SHA-256 in lower case hex" }), LIMITS.listLength),
  insecureSkipVerify: boolean,
});

const otherCertificates = optional(
  array(object<CertificateFiles>({ certificateFile: someText, privateKeyFile: someText }), LIMITS.certificatesPerServer),
);

const certificates = {
  certificateFile: someText,
  privateKeyFile: someText,
  minVersion: tlsVersion,
  maxVersion: tlsVersion,
  cipherSuites: names,
} satisfies Partial<Shape<ServerCertificates>>;

const anyServerTls = variants<ServerTls, "mode">("mode", {
  simple: { ...certificates, otherCertificates },
  platform: {},
  mutual: { ...certificates, client: clientRules, otherCertificates },
  "optional-mutual": { ...certificates, client: clientRules, otherCertificates },
  passthrough: {},
  "auto-passthrough": { hosts: array(hostPattern, LIMITS.listLength) },
});

/** Whoever asks for certificates says what passes: a missing authority is never "any". */
export const serverTls = refined(anyServerTls, (tls, issues) => {
  if (tls.mode !== "mutual" && tls.mode !== "optional-mutual") return;
  const { caFile, crlFile, insecureSkipVerify } = tls.client;
  if ((caFile === undefined) !== insecureSkipVerify)
    issues.add(
      "client.caFile",
      caFile === undefined ? "required unless insecureSkipVerify" : "not allowed with insecureSkipVerify",
    );
  if (crlFile !== undefined && insecureSkipVerify) issues.add("client.crlFile", "not allowed with insecureSkipVerify");
});

export const clientTls = refined(
  object<ClientTls>({
    mode: oneOf("simple", "mutual"),
    serverName: optional(hostPattern),
    subjectAltNames: names,
    caFile: optional(someText),
    minVersion: tlsVersion,
    insecureSkipVerify: boolean,
    certificateFile: optional(someText),
    privateKeyFile: optional(someText),
    crlFile: optional(someText),
  }),
  checkClientTls,
);

function checkClientTls({ mode, certificateFile, privateKeyFile, ...rest }: ClientTls, issues: Issues): void {
  for (const [field, value] of Object.entries({ certificateFile, privateKeyFile })) {
    if ((value !== undefined) === (mode === "mutual")) continue;
    issues.add(field, mode === "mutual" ? "required with mode mutual" : "belongs to mode mutual");
  }
  if (rest.crlFile !== undefined && rest.insecureSkipVerify) issues.add("crlFile", "not allowed with insecureSkipVerify");
}
