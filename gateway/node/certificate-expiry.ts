/** Tells when certificates that this gateway shows end: in metrics all the time, and in the log ahead of it. */
import type { PemFile } from "../core/ir/index.ts";
import type { ShownCertificate } from "./tls-material.ts";

const DAY_MS = 86_400_000;
/** The log warns when so much is left, and once more at the second. What issues certificates by itself renews them earlier than that. */
export const EXPIRY_WARNINGS_MS: readonly number[] = [14 * DAY_MS, DAY_MS];

export interface ExpirySinks {
  /** @param unixSeconds 0: it is not shown any more */
  expires(file: PemFile, unixSeconds: number): void;
  warn(file: PemFile, notAfterMs: number): void;
}

export class CertificateExpiry {
  readonly #sinks: ExpirySinks;
  readonly #told = new Map<PemFile, number>();
  /** Certificate (by file and end) and warning that were logged. */
  readonly #warned = new Set<string>();

  constructor(sinks: ExpirySinks) {
    this.#sinks = sinks;
  }

  /** Looks at all that is shown now. */
  look(shown: readonly ShownCertificate[], unixMs: number): void {
    const gone = new Set(this.#told.keys());
    for (const { file, notAfterMs } of shown) {
      gone.delete(file);
      if (this.#told.get(file) !== notAfterMs) this.#sinks.expires(file, notAfterMs / 1000);
      this.#told.set(file, notAfterMs);
      this.#warn(file, notAfterMs, notAfterMs - unixMs);
    }
    for (const file of gone) {
      this.#told.delete(file);
      this.#sinks.expires(file, 0);
    }
  }

  #warn(file: PemFile, notAfterMs: number, leftMs: number): void {
    const due = EXPIRY_WARNINGS_MS.findLast((ms) => leftMs <= ms);
    // What has ended is a problem of its server, and told as that.
    if (due === undefined || leftMs < 0) return;
    const key = `${file} ${notAfterMs} ${due}`;
    if (this.#warned.has(key)) return;
    this.#warned.add(key);
    this.#sinks.warn(file, notAfterMs);
  }
}
