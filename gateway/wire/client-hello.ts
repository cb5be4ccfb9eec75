/**
 * A TLS client's first message, read without terminating TLS: which server it asks for, which protocols it offers (RFC 8446 4.1.2, RFC 6066 3,
 * RFC 7301 3.1). The message may be split over records and over packets in any way.
 */

export interface ClientHelloLimits {
  /** The handshake message with its header. */
  readonly maxClientHelloBytes: number;
  /** Records that it may be split over. */
  readonly maxClientHelloRecords: number;
}

export interface ClientHelloOptions {
  readonly limits?: ClientHelloLimits;
  /**
   * An address for a name, which RFC 6066 3 forbids and some clients send: refused, as whoever judges by names has to (default), or taken for no name,
   * as servers do.
   */
  readonly addresses?: "refused" | "unnamed";
}

export const DEFAULT_CLIENT_HELLO_LIMITS: ClientHelloLimits = { maxClientHelloBytes: 16 * 1024, maxClientHelloRecords: 32 };

export interface ClientHello {
  /** host_name as sent (ASCII, case kept, no trailing dot, never an address); undefined without the extension. */
  readonly serverName: string | undefined;
  /** ALPN protocol names in the client's order, a byte a character; empty without the extension. */
  readonly alpn: readonly string[];
  /** The encrypted_client_hello extension is there, in earnest or as grease: `serverName` may not be the name that is meant. */
  readonly ech: boolean;
  /** Offered versions as on the wire (0x0304 is TLS 1.3), grease left out. */
  readonly versions: readonly number[];
}

export type ClientHelloErrorCode =
  | "not_tls"
  | "malformed"
  | "too_large"
  | "too_many_records"
  | "duplicate_extension"
  | "duplicate_server_name"
  | "bad_server_name";

export type ClientHelloEvent =
  | { readonly kind: "need" }
  | { readonly kind: "hello"; readonly hello: ClientHello }
  | { readonly kind: "error"; readonly code: ClientHelloErrorCode; readonly message: string };

const NEED: ClientHelloEvent = { kind: "need" };
const RECORD_HEADER = 5;
const HANDSHAKE_HEADER = 4;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const MAX_RECORD_BYTES = 1 << 14;

const SERVER_NAME = 0;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;

/** Why reading stopped; thrown and caught within this file, so that each read can be one expression. */
class Refusal extends Error {
  readonly code: ClientHelloErrorCode;
  constructor(code: ClientHelloErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Reads one ClientHello. It is fed the connection's first bytes in turn; the caller keeps them, for it is going to pass them on.
 * What `feed` answered with other than `need` it answers for ever.
 */
export class ClientHelloReader {
  readonly #limits: ClientHelloLimits;
  readonly #takesAddresses: boolean;
  /** The handshake message as far as it came, record headers taken off. */
  #message = new Uint8Array(512);
  #size = 0;
  readonly #header = new Uint8Array(RECORD_HEADER);
  #headerSize = 0;
  #recordLeft = 0;
  #records = 0;
  #answer: ClientHelloEvent = NEED;

  constructor({ limits = DEFAULT_CLIENT_HELLO_LIMITS, addresses = "refused" }: ClientHelloOptions = {}) {
    this.#limits = limits;
    this.#takesAddresses = addresses === "unnamed";
  }

  feed(bytes: Uint8Array): ClientHelloEvent {
    if (this.#answer.kind !== "need") return this.#answer;
    try {
      this.#answer = this.#read(bytes);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#answer = { kind: "error", code: error.code, message: error.message };
    }
    if (this.#answer.kind !== "need") this.#message = new Uint8Array(0);
    return this.#answer;
  }

  #read(bytes: Uint8Array): ClientHelloEvent {
    let at = 0;
    while (at < bytes.length) {
      if (this.#recordLeft === 0) {
        this.#headerByte(bytes[at++] as number);
        continue;
      }
      const size = Math.min(this.#recordLeft, bytes.length - at);
      this.#append(bytes.subarray(at, at + size));
      at += size;
      this.#recordLeft -= size;
      const total = this.#messageBytes();
      if (total === undefined || this.#size < total) continue;
      // RFC 8446 5.1, 4.1.2: nothing may follow a ClientHello before the server has answered, least of all in its own record.
      if (this.#size > total || this.#recordLeft > 0)
        throw new Refusal("malformed", "bytes follow the ClientHello in its record");
      return { kind: "hello", hello: readClientHello(this.#message.subarray(HANDSHAKE_HEADER, total), this.#takesAddresses) };
    }
    return NEED;
  }

  /** RFC 8446 5.1: type, legacy_record_version, length. */
  #headerByte(byte: number): void {
    const index = this.#headerSize++;
    this.#header[index] = byte;
    const code = this.#records === 0 ? "not_tls" : "malformed";
    if (index === 0 && byte !== HANDSHAKE) throw new Refusal(code, `record type ${byte} where a handshake record has to be`);
    if (index === 1 && byte !== 3) throw new Refusal(code, `record version ${byte}.x is not TLS`);
    if (index === 2 && byte > 4) throw new Refusal(code, `record version 3.${byte} is not TLS`);
    if (index < RECORD_HEADER - 1) return;
    const length = ((this.#header[3] as number) << 8) | byte;
    // RFC 8446 5.1: never empty for handshake records, 2^14 at most.
    if (length === 0 || length > MAX_RECORD_BYTES)
      throw new Refusal(code, `record length ${length} is not between 1 and ${MAX_RECORD_BYTES}`);
    if (++this.#records > this.#limits.maxClientHelloRecords) {
      throw new Refusal(
        "too_many_records",
        `the ClientHello is split over more than ${this.#limits.maxClientHelloRecords} records`,
      );
    }
    this.#headerSize = 0;
    this.#recordLeft = length;
  }

  #append(bytes: Uint8Array): void {
    const size = this.#size + bytes.length;
    if (size > this.#message.length) {
      // A record is at most 16 KiB, and what is too long was refused by its header: this stays small.
      const grown = new Uint8Array(Math.max(size, this.#message.length * 2));
      grown.set(this.#message.subarray(0, this.#size));
      this.#message = grown;
    }
    this.#message.set(bytes, this.#size);
    this.#size = size;
  }

  /** RFC 8446 4: length of the whole handshake message, once its header is there. */
  #messageBytes(): number | undefined {
    const [type, high, middle, low] = this.#message;
    if (this.#size > 0 && type !== CLIENT_HELLO)
      throw new Refusal("malformed", `handshake message ${type} where a ClientHello has to be`);
    if (this.#size < HANDSHAKE_HEADER || high === undefined || middle === undefined || low === undefined) return undefined;
    const total = HANDSHAKE_HEADER + ((high << 16) | (middle << 8) | low);
    const { maxClientHelloBytes } = this.#limits;
    if (total > maxClientHelloBytes)
      throw new Refusal("too_large", `the ClientHello has ${total} bytes, allowed are ${maxClientHelloBytes}`);
    return total;
  }
}

/** Reads length-prefixed vectors (RFC 8446 3.4) and insists that they fit. */
class Vector {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get empty(): boolean {
    return this.#at === this.#bytes.length;
  }

  number(width: 1 | 2): number {
    const [high = 0, low = 0] = this.take(width);
    return width === 1 ? high : (high << 8) | low;
  }

  take(size: number): Uint8Array {
    const end = this.#at + size;
    if (end > this.#bytes.length) throw new Refusal("malformed", `${this.#what} is cut short`);
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** A vector with a length of `width` bytes, `min` to `max` bytes long. */
  vector(width: 1 | 2, min: number, max: number, what: string): Uint8Array {
    const size = this.number(width);
    if (size < min || size > max) throw new Refusal("malformed", `${what} has ${size} bytes`);
    return this.take(size);
  }

  finished(): void {
    if (!this.empty) throw new Refusal("malformed", `bytes follow the end of ${this.#what}`);
  }
}

function readClientHello(body: Uint8Array, takesAddresses: boolean): ClientHello {
  const hello = new Vector(body, "the ClientHello");
  const legacyVersion = hello.number(2);
  hello.take(32);
  hello.vector(1, 0, 32, "legacy_session_id");
  if (hello.vector(2, 2, 0xfffe, "cipher_suites").length % 2 !== 0)
    throw new Refusal("malformed", "cipher_suites has an odd length");
  hello.vector(1, 1, 255, "legacy_compression_methods");
  // RFC 5246 7.4.1.2: before TLS 1.3 there may be no extensions at all.
  const extensions = hello.empty ? new Map<number, Uint8Array>() : readExtensions(hello.vector(2, 0, 0xffff, "extensions"));
  hello.finished();
  return {
    serverName: readServerName(extensions.get(SERVER_NAME), takesAddresses),
    alpn: readAlpn(extensions.get(ALPN)),
    ech: extensions.has(ENCRYPTED_CLIENT_HELLO),
    versions: readVersions(extensions.get(SUPPORTED_VERSIONS), legacyVersion),
  };
}

function readExtensions(bytes: Uint8Array): Map<number, Uint8Array> {
  const extensions = new Map<number, Uint8Array>();
  const list = new Vector(bytes, "the extensions");
  while (!list.empty) {
    const type = list.number(2);
    const data = list.vector(2, 0, 0xffff, "an extension");
    // RFC 8446 4.2: not more than one of a type, for two readers may pick two different ones.
    if (extensions.has(type)) {
      if (type === SERVER_NAME) throw new Refusal("duplicate_server_name", "there is more than one server_name extension");
      throw new Refusal("duplicate_extension", `there is more than one extension ${type}`);
    }
    extensions.set(type, data);
  }
  return extensions;
}

/** RFC 6066 3: one host_name, an ASCII name without trailing dot, not an address. */
function readServerName(data: Uint8Array | undefined, takesAddresses: boolean): string | undefined {
  if (data === undefined) return undefined;
  const extension = new Vector(data, "server_name");
  const list = new Vector(extension.vector(2, 1, 0xffff, "server_name_list"), "server_name_list");
  extension.finished();
  const type = list.number(1);
  if (type !== 0) throw new Refusal("bad_server_name", `name type ${type} is not host_name`);
  const name = latin1(list.vector(2, 1, 0xffff, "host_name"));
  if (!list.empty) throw new Refusal("duplicate_server_name", "server_name names more than one server");
  if (takesAddresses && ADDRESS.test(name)) return undefined;
  if (!isHostName(name)) throw new Refusal("bad_server_name", "host_name is not a DNS name");
  return name;
}

/** What looks like an address of either family: no DNS name has a colon, or a last label of digits. */
const ADDRESS = /^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$/;

/** RFC 1035 2.3.1 with the underscore that real names have; a last label of digits would make it an address (RFC 3696 2). */
function isHostName(name: string): boolean {
  if (name.length > 253) return false;
  const labels = name.split(".");
  if (/^[0-9]+$/.test(labels.at(-1) ?? "")) return false;
  return labels.every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label));
}

/** RFC 7301 3.1. */
function readAlpn(data: Uint8Array | undefined): readonly string[] {
  if (data === undefined) return [];
  const extension = new Vector(data, "application_layer_protocol_negotiation");
  const list = new Vector(extension.vector(2, 2, 0xffff, "protocol_name_list"), "protocol_name_list");
  extension.finished();
  const names: string[] = [];
  while (!list.empty) names.push(latin1(list.vector(1, 1, 255, "a protocol name")));
  return names;
}

/** RFC 8446 4.2.1; without the extension legacy_version is all that is offered. */
function readVersions(data: Uint8Array | undefined, legacyVersion: number): readonly number[] {
  if (data === undefined) return [legacyVersion];
  const extension = new Vector(data, "supported_versions");
  const list = new Vector(extension.vector(1, 2, 254, "versions"), "versions");
  extension.finished();
  const versions: number[] = [];
  while (!list.empty) {
    const version = list.number(2);
    // RFC 8701 2: 0x0A0A, 0x1A1A … 0xFAFA mean nothing.
    const grease = (version & 0x0f0f) === 0x0a0a && version >> 8 === (version & 0xff);
    if (!grease) versions.push(version);
  }
  return versions;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
