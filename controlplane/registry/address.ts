import ipaddr from "ipaddr.js";

/** Whether this is an IP address in text form, four-part decimal for IPv4; configuration has made sure that it is canonical. */
export function isIpLiteral(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || (text.includes(":") && ipaddr.IPv6.isValid(text));
}
