/** Ways to write an authority so that one reader takes it for an allowed host and another goes elsewhere. Every gateway refuses every one of them. */

export interface Spelling {
  readonly what: string;
  /** @param host the one host that is allowed, on `port` */
  authority(host: string, port: number): string;
}

const at =
  (address: string) =>
  (_host: string, port: number): string =>
    `${address}:${port}`;

export const SPELLINGS: readonly Spelling[] = [
  { what: "a trailing dot", authority: (host, port) => `${host}.:${port}` },
  { what: "two trailing dots", authority: (host, port) => `${host}..:${port}` },
  { what: "a percent-encoded letter", authority: (host, port) => `%${host.charCodeAt(0).toString(16)}${host.slice(1)}:${port}` },
  { what: "an encoded zero byte", authority: (host, port) => `${host}%00:${port}` },
  { what: "user information", authority: (host, port) => `x@${host}:${port}` },
  { what: "a password", authority: (host, port) => `x:y@${host}:${port}` },
  { what: "the host as user information", authority: (host, port) => `${host}:${port}@127.0.0.1:${port}` },
  { what: "a backslash", authority: (host, port) => `127.0.0.1:${port}\\@${host}:${port}` },
  { what: "an encoded at sign", authority: (host, port) => `127.0.0.1%40${host}:${port}` },
  { what: "no host", authority: () => "" },
  { what: "an empty port", authority: (host) => `${host}:` },
  { what: "port 0", authority: (host) => `${host}:0` },
  { what: "a port with a leading zero", authority: (host, port) => `${host}:0${port}` },
  { what: "a port beyond 65535", authority: (host, port) => `${host}:${port + 65_536}` },
  { what: "two ports", authority: (host, port) => `${host}:${port}:${port}` },
  { what: "another port", authority: (host, port) => `${host}:${port === 65_535 ? 1024 : port + 1}` },
  { what: "a name below", authority: (host, port) => `a.${host}:${port}` },
  { what: "a name that ends alike", authority: (host, port) => `x${host}:${port}` },
  { what: "a decimal address", authority: at("2130706433") },
  { what: "a hexadecimal address", authority: at("0x7f000001") },
  { what: "an octal address", authority: at("0177.0.0.1") },
  { what: "a short address", authority: at("127.1") },
  { what: "zero", authority: at("0") },
  { what: "an address that is not listed", authority: at("127.0.0.1") },
  { what: "another loopback address", authority: at("127.0.0.2") },
  { what: "the unspecified address", authority: at("0.0.0.0") },
  { what: "a metadata address", authority: at("169.254.169.254") },
  { what: "the IPv6 loopback", authority: at("[::1]") },
  { what: "a mapped address", authority: at("[::ffff:7f00:1]") },
  { what: "a mapped address, dotted", authority: at("[::ffff:127.0.0.1]") },
  { what: "a compatible address", authority: at("[::7f00:1]") },
  { what: "a NAT64 address", authority: at("[64:ff9b::7f00:1]") },
  { what: "a 6to4 address", authority: at("[2002:7f00:1::]") },
  { what: "a zone", authority: at("[fe80::1%25lo]") },
  { what: "an IPv6 address in full", authority: at("[0:0:0:0:0:0:0:1]") },
];
