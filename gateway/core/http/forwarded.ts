/** Who the client is when other proxies stand in front. */
import ipaddr from "ipaddr.js";
import { fieldJoined, type ReadonlyFieldList } from "./message.ts";

/**
 * The client's address: with N trusted proxies in front the Nth entry of X-Forwarded-For from the right (what the outermost of them
 * wrote down), with none the peer. When there is no such entry, or it is not an address, nobody trustworthy named the client: the peer.
 */
export function clientAddress(fields: ReadonlyFieldList, peerAddress: string, trustedProxies: number): string {
  if (trustedProxies === 0) return peerAddress;
  const chain = fieldJoined(fields, "x-forwarded-for");
  if (chain === undefined) return peerAddress;
  let end = chain.length;
  for (let hop = 1; hop < trustedProxies; hop++) {
    end = chain.lastIndexOf(",", end - 1);
    if (end <= 0) return peerAddress;
  }
  const entry = chain.slice(chain.lastIndexOf(",", end - 1) + 1, end).trim();
  return canonicalAddress(entry) ?? peerAddress;
}

/** An IP address in canonical text form out of `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1` or `[2001:db8::1]:80`; mapped IPv4 becomes IPv4. */
function canonicalAddress(text: string): string | undefined {
  let host = text;
  if (text.startsWith("[")) host = text.slice(1, Math.max(text.indexOf("]"), 1));
  else if (text.indexOf(":") === text.lastIndexOf(":") && text.includes(":")) host = text.slice(0, text.indexOf(":"));
  if (ipaddr.IPv4.isValidFourPartDecimal(host)) return host;
  if (!ipaddr.IPv6.isValid(host) || host.includes("%")) return undefined;
  const address = ipaddr.IPv6.parse(host);
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String();
}
