/** The head that goes out to a checked origin. */
import type { HttpVersion, ReadonlyFieldList, RequestHead } from "../http/message.ts";
import { requestFields } from "./forward.ts";
import { inject } from "./inject.ts";
import type { Host } from "./name.ts";
import { httpsAuthority, type ProxyRequest } from "./target.ts";

/**
 * @param injected fields that the rule adds
 * @param secure TLS is made here
 */
export function outgoingHead(
  { head, connectionOptions, protocol }: ProxyRequest,
  injected: ReadonlyFieldList,
  host: Host,
  port: number,
  secure: boolean,
): RequestHead {
  const turned = secure && head.scheme === "http";
  return {
    method: head.method,
    scheme: secure ? "https" : "http",
    authority: turned ? httpsAuthority(host, port) : head.authority,
    target: head.target,
    fields: inject(requestFields(head.fields, connectionOptions, versionOf(protocol)), injected),
    body: head.body,
  };
}

function versionOf(protocol: string): HttpVersion {
  return protocol === "HTTP/1.0" ? "1.0" : protocol === "HTTP/2" ? "2" : "1.1";
}
