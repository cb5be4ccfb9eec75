/**
 * True for fields that end at this hop (RFC 9110 7.6.1), whether or not Connection names them, and for those whose content the codec
 * writes from elsewhere (Host from the authority).
 */
export function isHopByHop(name: string): boolean {
  switch (name.length) {
    case 2:
      return name === "te";
    case 4:
      return name === "host";
    case 7:
      return name === "upgrade";
    case 10:
      return name === "connection" || name === "keep-alive";
    case 14:
      return name === "content-length";
    case 16:
      return name === "proxy-connection";
    case 17:
      return name === "transfer-encoding";
    case 18:
      return name === "proxy-authenticate";
    case 19:
      // RFC 9110 11.7.2: for the first proxy that asks for it, which is never behind a gateway.
      return name === "proxy-authorization";
    case 25:
      // RFC 9110 11.7.3: of the proxy that was asked by this one.
      return name === "proxy-authentication-info";
    default:
      return false;
  }
}

/** What Connection names (RFC 9110 7.6.1), in lower case. What most say is not taken apart each time. */
export function connectionOptionsOf(connection: string): readonly string[] {
  return connection === "keep-alive" ? KEEP_ALIVE : connection.split(",").map((option) => option.trim().toLowerCase());
}

const KEEP_ALIVE: readonly string[] = ["keep-alive"];

/** Fields by which this gateway explains itself: nobody else may put words into its mouth. */
export function isOwnField(name: string): boolean {
  return name.startsWith("x-tidegate-");
}
