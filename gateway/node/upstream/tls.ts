/**
 * TLS towards origins: what is verified, and what we show of ourselves.
 *
 * Origins with the same files share a context. Files may change under way: new connections are made with what they hold then, old ones live on, and
 * sessions of before are not resumed, because a certificate that has been revoked since would not be looked at again. Files that cannot be used
 * leave what was in force; where nothing was, nothing is sent.
 */
import { constants } from "node:crypto";
import { isIP } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
} from "node:tls";
import { hasAltName, parseAltNames } from "../../core/identity/index.ts";
import type { ClientTls, PemFile } from "../../core/ir/index.ts";
import { fail, ok, type Result } from "../../core/result.ts";
import { FileWatch } from "../file-watch.ts";
import type { PemFiles } from "../pem-files.ts";
import { readAuthorities, readKeyPair, type ShownCertificate, validityProblems } from "../tls-material.ts";

/** What is wrong with the files of TLS towards a cluster. */
export interface OriginTlsProblem {
  /** Cluster by name. */
  readonly name: string;
  readonly reason: string;
}

interface Material {
  readonly context: SecureContext;
  readonly hash: string;
  /** Ours. */
  readonly shown: readonly ShownCertificate[];
}

/** What several origins have in common. */
interface Shared {
  readonly tls: ClientTls;
  material: Material | undefined;
  /** What is wrong with the files now, whether or not something else is in force. */
  problem: string | undefined;
}

/** The TLS contexts of one thread. */
export class OriginContexts {
  readonly #files: PemFiles;
  readonly #unixMs: () => number;
  readonly #changed: () => void;
  readonly #watch: FileWatch;
  readonly #shared = new Map<string, Shared>();
  /** Directories, and why changes in them are not told. */
  readonly #unwatched = new Map<string, string>();
  #clusters: ReadonlyMap<string, ClientTls> = new Map();
  #told = "";

  /** @param changed `problems` is not what it was */
  constructor(files: PemFiles, unixMs: () => number, changed: () => void) {
    this.#files = files;
    this.#unixMs = unixMs;
    this.#changed = changed;
    this.#watch = new FileWatch(
      () => this.#reload(),
      (directory, reason) => this.#unwatched.set(directory, `not watched for new certificates: ${reason}`),
    );
  }

  /** What is wrong with files now. */
  get problems(): readonly OriginTlsProblem[] {
    const unixMs = this.#unixMs();
    const ofClusters = [...this.#clusters].flatMap(([name, tls]) => {
      const { problem, material } = this.shared(tls);
      const ended = validityProblems(material?.shown ?? [], unixMs).map((reason) => ({ name, reason: `our ${reason}` }));
      if (problem === undefined) return ended;
      return [{ name, reason: material === undefined ? problem : `${problem}; what was read before stays in force` }, ...ended];
    });
    return [...ofClusters, ...Array.from(this.#unwatched, ([name, reason]) => ({ name, reason }))];
  }

  /** Takes over the clusters of a snapshot, and forgets what none of them needs. */
  install(clusters: readonly { readonly name: string; readonly tls?: ClientTls }[]): void {
    this.#clusters = new Map(clusters.flatMap(({ name, tls }) => (tls === undefined ? [] : [[name, tls]])));
    const wanted = new Set([...this.#clusters.values()].map(contextKey));
    for (const key of this.#shared.keys()) if (!wanted.has(key)) this.#shared.delete(key);
    for (const tls of this.#clusters.values()) this.shared(tls);
    this.#follow();
    this.#told = JSON.stringify(this.problems);
  }

  /** @param speaks what is said to speak in a handshake (ALPN) */
  towards(tls: ClientTls, address: string, speaks: string): OriginTls {
    return new OriginTls(this, tls, address, speaks);
  }

  /** Certificates of ours that origins are shown. */
  shown(): readonly ShownCertificate[] {
    return [...this.#shared.values()].flatMap(({ material }) => material?.shown ?? []);
  }

  close(): void {
    this.#watch.close();
  }

  /** For `OriginTls`. */
  shared(tls: ClientTls): Shared {
    const key = contextKey(tls);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = { tls, material: undefined, problem: undefined };
      this.#read(shared);
      this.#shared.set(key, shared);
    }
    return shared;
  }

  #read(shared: Shared): void {
    const read = readMaterial(shared.tls, this.#files, shared.material);
    shared.problem = read.ok ? undefined : read.error;
    if (read.ok) shared.material = read.value;
  }

  #reload(): void {
    for (const shared of this.#shared.values()) this.#read(shared);
    this.#follow();
    const now = JSON.stringify(this.problems);
    if (now === this.#told) return;
    this.#told = now;
    this.#changed();
  }

  #follow(): void {
    const files = [...this.#shared.values()].flatMap(({ tls }) => filesOf(tls));
    this.#unwatched.clear();
    this.#watch.follow(files.map((file) => this.#files.pathOf(file)).filter((path) => path !== undefined));
  }
}

/** TLS for the connections of one pool. */
export class OriginTls {
  readonly #contexts: OriginContexts;
  readonly #tls: ClientTls;
  readonly #address: string;
  readonly #name: string;
  readonly #speaks: string;
  #options: ConnectionOptions | undefined;
  /** What `#options` and `#session` were made with. */
  #material: Material | undefined;
  #session: Buffer | undefined;

  constructor(contexts: OriginContexts, tls: ClientTls, address: string, speaks: string) {
    this.#speaks = speaks;
    this.#contexts = contexts;
    this.#tls = tls;
    this.#address = address;
    this.#name = tls.serverName ?? (isIP(address) === 0 ? address : "");
  }

  /** For `tls.connect`, shared by all connections until files change; or why there can be none. */
  options(): Result<ConnectionOptions, string> {
    const { material, problem } = this.#contexts.shared(this.#tls);
    if (material === undefined) return fail(`TLS settings: ${problem ?? "nothing was read"}`);
    if (this.#options === undefined || this.#material !== material) {
      this.#material = material;
      this.#session = undefined;
      this.#options = this.#connectWith(material.context);
    }
    return ok(this.#options);
  }

  /** The last session with what is in force, to resume. */
  get session(): Buffer | undefined {
    return this.#session;
  }
  set session(fresh: Buffer | undefined) {
    this.#session = fresh;
  }

  #connectWith(secureContext: SecureContext): ConnectionOptions {
    const { subjectAltNames, insecureSkipVerify } = this.#tls;
    return {
      ...(this.#name === "" ? {} : { servername: this.#name }),
      secureContext,
      rejectUnauthorized: !insecureSkipVerify,
      ALPNProtocols: [this.#speaks],
      checkServerIdentity: (host, certificate) =>
        subjectAltNames.length === 0
          ? checkServerIdentity(this.#name === "" ? this.#address : host, certificate)
          : checkAltNames(subjectAltNames, certificate),
    };
  }
}

/** What a context depends on; names are checked with each connection. */
function contextKey({ minVersion, caFile, crlFile, certificateFile, privateKeyFile }: ClientTls): string {
  return JSON.stringify([minVersion, caFile, crlFile, certificateFile, privateKeyFile]);
}

function filesOf({ caFile, crlFile, certificateFile, privateKeyFile }: ClientTls): readonly PemFile[] {
  return [caFile, crlFile, certificateFile, privateKeyFile].filter((file) => file !== undefined);
}

function readMaterial(tls: ClientTls, files: PemFiles, before: Material | undefined): Result<Material, string> {
  const { certificateFile, privateKeyFile, minVersion } = tls;
  const authorities = readAuthorities(tls, files);
  if (!authorities.ok) return authorities;
  const own =
    certificateFile === undefined || privateKeyFile === undefined
      ? ok(undefined)
      : readKeyPair({ certificateFile, privateKeyFile }, files);
  if (!own.ok) return fail(`our ${own.error}`);
  const hash = `${authorities.value.hash} ${own.value?.hash}`;
  if (before?.hash === hash) return ok(before);
  const { ca, crl } = authorities.value;
  try {
    const context = createSecureContext({
      minVersion,
      // RFC 9113 9.2.1; and what was checked at the beginning holds to the end.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ...(ca.length === 0 ? {} : { ca: [...ca] }),
      ...(crl.length === 0 ? {} : { crl: [...crl] }),
      ...(own.value === undefined ? {} : { cert: own.value.cert, key: own.value.key }),
    });
    return ok({ context, hash, shown: own.value === undefined ? [] : [own.value.shown] });
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/** Istio's `subjectAltNames`: one of the certificate's names has to be one of these, whatever the host is called. */
export function checkAltNames(
  wanted: readonly string[],
  certificate: Pick<PeerCertificate, "subjectaltname">,
): Error | undefined {
  const names = parseAltNames(certificate.subjectaltname ?? "");
  if (names !== undefined && hasAltName(names, wanted)) return undefined;
  return new Error(`none of the certificate's names is one of ${wanted.join(", ")}`);
}

/** What the library's error says, in words: without its addresses, files and lines. */
export function tlsReason(error: (Error & { readonly reason?: unknown }) | undefined): string | undefined {
  return typeof error?.reason === "string" ? error.reason : error?.message;
}

/** Whether a connection that stood has ended by a TLS error: in TLS 1.3 an origin refuses our certificate after the handshake. */
export function isTlsError(error: (Error & { readonly code?: unknown }) | undefined): boolean {
  return typeof error?.code === "string" && error.code.startsWith("ERR_SSL_");
}
