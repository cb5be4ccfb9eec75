/** ClientHellos made to measure, and a table of good and bad ones. */

export interface HelloParts {
  readonly serverName?: string;
  readonly alpn?: readonly string[];
  readonly ech?: boolean;
  readonly versions?: readonly number[];
  /** Size of a padding extension; none when 0 or absent. */
  readonly padding?: number;
  /** Ready-made extensions, appended. */
  readonly extra?: readonly Uint8Array[];
  /** Without even the length of the extensions. */
  readonly noExtensions?: boolean;
  readonly cipherSuites?: Uint8Array;
}

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
const u8 = (value: number): Uint8Array => Uint8Array.of(value);
const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255);
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const vector8 = (content: Uint8Array): Uint8Array => join(u8(content.length), content);
const vector16 = (content: Uint8Array): Uint8Array => join(u16(content.length), content);

export const extension = (type: number, data: Uint8Array): Uint8Array => join(u16(type), vector16(data));
export const hostName = (name: string): Uint8Array => join(u8(0), vector16(bytes(name)));
export const serverNames = (...names: readonly Uint8Array[]): Uint8Array => extension(0, vector16(join(...names)));

/** The handshake message (RFC 8446 4.1.2). */
export function clientHello(parts: HelloParts): Uint8Array {
  const extensions = join(
    ...(parts.padding ? [extension(21, new Uint8Array(parts.padding))] : []),
    ...(parts.serverName === undefined ? [] : [serverNames(hostName(parts.serverName))]),
    ...(parts.alpn === undefined ? [] : [extension(16, vector16(join(...parts.alpn.map((name) => vector8(bytes(name))))))]),
    ...(parts.versions === undefined ? [] : [extension(43, vector8(join(...parts.versions.map(u16))))]),
    ...(parts.ech ? [extension(0xfe0d, new Uint8Array(20))] : []),
    ...(parts.extra ?? []),
  );
  return handshake(
    join(
      u16(0x0303),
      new Uint8Array(32).fill(7),
      vector8(new Uint8Array(32)),
      vector16(parts.cipherSuites ?? Uint8Array.of(0x13, 0x01, 0x13, 0x02)),
      vector8(u8(0)),
      ...(parts.noExtensions ? [] : [vector16(extensions)]),
    ),
  );
}

export function handshake(body: Uint8Array, type = 1): Uint8Array {
  return join(Uint8Array.of(type, body.length >> 16, (body.length >> 8) & 255, body.length & 255), body);
}

/** A handshake message in records of at most `size` bytes. */
export function records(message: Uint8Array, size = 1 << 14): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += size) parts.push(record(message.slice(at, at + size)));
  return join(...parts);
}

export function record(content: Uint8Array, type = 22, version = 0x0301): Uint8Array {
  return join(u8(type), u16(version), vector16(content));
}

const NAME = { serverName: "Shop.Example.com" };
const hello = (parts: HelloParts): Uint8Array => records(clientHello(parts));
const read = (change: object = {}): object => ({ serverName: undefined, alpn: [], ech: false, versions: [0x0303], ...change });

/** The bytes of a connection, and what is read from them: a hello, an error's code, or `need`. */
export const HELLOS: readonly (readonly [name: string, bytes: Uint8Array, expected: object | string])[] = [
  [
    "everything",
    hello({ ...NAME, alpn: ["h2", "http/1.1"], versions: [0x0a0a, 0x0304, 0x0303] }),
    read({ ...NAME, alpn: ["h2", "http/1.1"], versions: [0x0304, 0x0303] }),
  ],
  ["no extensions", hello({}), read()],
  ["no extensions field", hello({ noExtensions: true }), read()],
  ["ECH", hello({ ...NAME, ech: true }), read({ ...NAME, ech: true })],
  ["in records of 7 bytes… too many", records(clientHello(NAME), 2), "too_many_records"],
  ["in several records", records(clientHello(NAME), 40), read(NAME)],
  ["what follows in other records is not looked at", join(hello(NAME), record(bytes("early data"), 23, 0x0303)), read(NAME)],
  ["underscore and hyphen", hello({ serverName: "_a-b.c_d" }), read({ serverName: "_a-b.c_d" })],
  ["one label", hello({ serverName: "localhost" }), read({ serverName: "localhost" })],
  ["cut", hello(NAME).slice(0, -1), "need"],
  ["nothing", new Uint8Array(0), "need"],

  ["HTTP", bytes("GET / HTTP/1.1\r\n"), "not_tls"],
  ["SSL 2", Uint8Array.of(0x80, 0x2e, 1, 3, 1), "not_tls"],
  ["an alert", record(Uint8Array.of(2, 40), 21), "not_tls"],
  ["record version 2.0", record(clientHello(NAME), 22, 0x0200), "not_tls"],
  ["record version 3.5", record(clientHello(NAME), 22, 0x0305), "not_tls"],
  ["an empty record", record(new Uint8Array(0)), "not_tls"],
  ["a record that is too long", Uint8Array.of(22, 3, 1, 0x40, 1), "not_tls"],
  ["an empty record in between", join(record(clientHello(NAME).slice(0, 20)), record(new Uint8Array(0))), "malformed"],
  ["another record in between", join(record(clientHello(NAME).slice(0, 20)), record(u8(1), 20)), "malformed"],
  ["a ServerHello", record(handshake(clientHello(NAME).slice(4), 2)), "malformed"],
  ["another message in the same record", record(join(clientHello(NAME), u8(1))), "malformed"],
  ["too large", Uint8Array.of(22, 3, 1, 0x40, 0, 1, 0, 0x40, 0), "too_large"],

  ["cut inside", record(handshake(clientHello(NAME).slice(4, -3))), "malformed"],
  ["bytes behind the extensions", record(handshake(join(clientHello(NAME).slice(4), u8(0)))), "malformed"],
  ["odd cipher suites", hello({ ...NAME, cipherSuites: new Uint8Array(3) }), "malformed"],
  ["no cipher suites", hello({ ...NAME, cipherSuites: new Uint8Array(0) }), "malformed"],
  ["server_name twice", hello({ ...NAME, extra: [serverNames(hostName("b.test"))] }), "duplicate_server_name"],
  ["two names in server_name", hello({ extra: [serverNames(hostName("a.test"), hostName("b.test"))] }), "duplicate_server_name"],
  ["ALPN twice", hello({ alpn: ["h2"], extra: [extension(16, vector16(vector8(bytes("x"))))] }), "duplicate_extension"],
  ["an unknown extension twice", hello({ extra: [extension(999, u8(1)), extension(999, u8(1))] }), "duplicate_extension"],
  ["empty server_name", hello({ extra: [extension(0, new Uint8Array(0))] }), "malformed"],
  ["empty name list", hello({ extra: [serverNames()] }), "malformed"],
  ["another name type", hello({ extra: [serverNames(join(u8(1), vector16(bytes("a"))))] }), "bad_server_name"],
  ["bytes behind the name list", hello({ extra: [extension(0, join(vector16(hostName("a.test")), u8(0)))] }), "malformed"],
  ["empty name", hello({ extra: [serverNames(hostName(""))] }), "malformed"],
  ["trailing dot", hello({ serverName: "a.test." }), "bad_server_name"],
  ["leading dot", hello({ serverName: ".a.test" }), "bad_server_name"],
  ["two dots", hello({ serverName: "a..test" }), "bad_server_name"],
  ["NUL", hello({ serverName: "a.test\0.evil" }), "bad_server_name"],
  ["space", hello({ serverName: "a test" }), "bad_server_name"],
  ["port", hello({ serverName: "a.test:443" }), "bad_server_name"],
  ["wildcard", hello({ serverName: "*.test" }), "bad_server_name"],
  ["beyond ASCII", hello({ serverName: "\xe9.test" }), "bad_server_name"],
  ["IPv4", hello({ serverName: "10.0.0.1" }), "bad_server_name"],
  ["IPv6", hello({ serverName: "::1" }), "bad_server_name"],
  ["hyphen first", hello({ serverName: "-a.test" }), "bad_server_name"],
  ["hyphen last", hello({ serverName: "a-.test" }), "bad_server_name"],
  ["a label of 63", hello({ serverName: `${"x".repeat(63)}.test` }), read({ serverName: `${"x".repeat(63)}.test` })],
  ["a label of 64", hello({ serverName: `${"x".repeat(64)}.test` }), "bad_server_name"],
  ["a name of 254", hello({ serverName: `${"a.".repeat(125)}test` }), "bad_server_name"],
  ["empty ALPN", hello({ alpn: [] }), "malformed"],
  ["empty protocol name", hello({ alpn: ["h2", ""] }), "malformed"],
  ["versions with an odd length", hello({ extra: [extension(43, vector8(new Uint8Array(3)))] }), "malformed"],
  ["no versions", hello({ extra: [extension(43, vector8(new Uint8Array(0)))] }), "malformed"],
];
