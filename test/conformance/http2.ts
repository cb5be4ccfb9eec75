/** A case's request by HTTP/2: which cases can be asked so, and what they look like then. */
import type { OutgoingHttpHeaders } from "node:http2";
import { Http2Client } from "../support/http2.ts";
import type { Case } from "./case.ts";
import type { Seen } from "./compare.ts";

/** Fields that HTTP/2 has no place for (RFC 9113 8.2.2), or for one value of only; what they ask of a gateway is HTTP/1.1's affair. */
const OF_HTTP1 = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "te"]);

export function hasHttp2({ request, expect }: Case): boolean {
  const { fields = [], minor = 1, authority, target = "/", method = "GET" } = request;
  const names = fields.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  // Node's client sends no field twice that may be there once only.
  const isRepeated = names.filter((name) => name === "max-forwards").length > 1;
  // The answer to TRACE shows what the request came by.
  const isOurs = method !== "TRACE" && (target.startsWith("/") || (target === "*" && method === "OPTIONS"));
  if (minor !== 1 || authority === "" || !isOurs || isRepeated || expect.fields?.["upgrade"] !== undefined) return false;
  return !names.some((name) => OF_HTTP1.has(name));
}

/** Asks and waits for the whole answer. @param more fields that the runner adds */
export async function askByHttp2(
  port: number,
  { request }: Case,
  more: readonly string[] = [],
): Promise<NonNullable<Seen["response"]>> {
  const { method = "GET", target = "/", authority = "shop.example.com", body } = request;
  const headers: OutgoingHttpHeaders = { ":method": method, ":path": target, ":authority": authority, ":scheme": "http" };
  const fields = [...(request.fields ?? []), ...more];
  for (let i = 0; i < fields.length; i += 2) {
    const name = (fields[i] ?? "").toLowerCase();
    const before = headers[name];
    const value = fields[i + 1] ?? "";
    headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [String(before)]), value];
  }
  if (body !== undefined) headers["content-length"] = body.length;
  const client = new Http2Client(`http://127.0.0.1:${port}`);
  try {
    const answer = await client.ask(headers, body === undefined ? {} : { body: Buffer.from(body, "latin1") });
    return { status: answer.status, fields: answer.fields, body: answer.body.toString("utf8") };
  } finally {
    client.close();
  }
}

/** The one difference that there is: Via names what a request came by. */
export function withoutVersion(seen: Seen): Seen {
  const upstream = seen.upstream.map((one) => ({
    ...one,
    head: { ...one.head, fields: one.head.fields.map((text) => (text === "2 tidegate" ? "1.1 tidegate" : text)) },
  }));
  return { ...seen, upstream };
}
