/** What a tunnel's first bytes have to be: SNI = CONNECT name, or nothing passes. */
import type { EgressAllow } from "./decide.ts";
import type { Host } from "./name.ts";
import type { HelloReader, HelloReading } from "./ports.ts";

export interface HelloProblem {
  readonly code: "not_tls" | "sni_missing" | "sni_mismatch";
  readonly reason: string;
  /** TLS alert (RFC 8446 6) for the client to show. */
  readonly alert: Uint8Array;
}

/** Fatal alert record: unrecognized_name (112). */
const UNRECOGNIZED_NAME = Uint8Array.of(21, 3, 1, 0, 2, 2, 112);
const NO_ALERT = new Uint8Array(0);

/** True when a tunnel for this protocol is looked into at all. */
export function isInspected(protocol: EgressAllow["protocol"]): boolean {
  return protocol === "https" || protocol === "tls";
}

/**
 * Judges the ClientHello of an `https` or `tls` tunnel. A name has to be the SNI, byte for byte; an IP literal has none (RFC 6066 3 does not
 * let one be sent). With encrypted ClientHello only the outer name is seen: it has to be the name all the same.
 */
function helloProblem(host: Host, reading: Exclude<HelloReading, { kind: "need" }>): HelloProblem | undefined {
  if (reading.kind === "bad") {
    return {
      code: "not_tls",
      reason: `the tunnel to ${host.text} does not begin with a ClientHello: ${reading.reason}`,
      alert: NO_ALERT,
    };
  }
  const { serverName } = reading;
  if (host.kind === "address") {
    if (serverName === undefined) return undefined;
    return mismatch(`the ClientHello names a host, but the tunnel is for the address ${host.text}`);
  }
  if (serverName === undefined) {
    return { code: "sni_missing", reason: `the ClientHello names no host; ${host.text} was asked for`, alert: UNRECOGNIZED_NAME };
  }
  return serverName === host.text ? undefined : mismatch(`the ClientHello names another host than ${host.text}`);
}

function mismatch(reason: string): HelloProblem {
  return { code: "sni_mismatch", reason, alert: UNRECOGNIZED_NAME };
}

/** Looks at a tunnel's first bytes until they can be judged. */
export class HelloInspection {
  readonly #reader: HelloReader;
  readonly #host: Host;
  #fed = 0;

  constructor(reader: HelloReader, host: Host) {
    this.#reader = reader;
    this.#host = host;
  }

  /** @param bytes all that the client has sent so far */
  look(bytes: Uint8Array): HelloProblem | "more" | "fits" {
    const reading = this.#reader.feed(bytes.subarray(this.#fed));
    this.#fed = bytes.length;
    return reading.kind === "need" ? "more" : (helloProblem(this.#host, reading) ?? "fits");
  }
}
