import ipaddr from "ipaddr.js";

/** `1.2.3.4:80`, `[2001:db8::1]:80`, `name:80`. */
export function addressAndPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The one spelling of an address of 4 or 16 bytes: dotted decimal, or RFC 5952. */
export function addressText(bytes: Uint8Array): string {
  const address = ipaddr.fromByteArray([...bytes]);
  return address.kind() === "ipv4" ? address.toString() : (address as ipaddr.IPv6).toRFC5952String();
}

/** 4 or 16 bytes of an address in text (no zone, no brackets); undefined: it is none. */
export function addressBytes(text: string): Uint8Array | undefined {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && (!text.includes(":") || text.includes("%") || !ipaddr.IPv6.isValid(text)))
    return undefined;
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}
