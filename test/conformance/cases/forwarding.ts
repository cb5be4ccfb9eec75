import { only, route, snapshot, virtualHost } from "../build.ts";
import type { Case, CaseRequest, ExpectedRequest } from "../case.ts";

const plain = only({});
const sent = (name: string, request: CaseRequest, expected: ExpectedRequest, trusted = 0): Case => ({
  name,
  snapshot: trusted === 0 ? plain : snapshot([virtualHost(["*"], [route("r")])], { settings: { numTrustedProxies: trusted } }),
  request,
  expect: { status: 200, upstream: [expected] },
});
const back = (name: string, fields: readonly string[], expected: { [name: string]: string }, absent: string[]): Case => ({
  name,
  snapshot: plain,
  request: {},
  origin: [{ status: 200, fields }],
  expect: { status: 200, fields: expected, absent },
});

export const forwarding: readonly Case[] = [
  sent(
    "end-to-end fields go through",
    { fields: ["accept", "text/html", "cookie", "a=b", "te-x", "1"] },
    { fields: { accept: "text/html", cookie: "a=b", "te-x": "1" } },
  ),
  sent(
    "hop-by-hop fields end here",
    {
      fields: [
        "keep-alive",
        "timeout=5",
        "te",
        "gzip",
        "upgrade",
        "h2c",
        "proxy-connection",
        "keep-alive",
        "proxy-authorization",
        "Basic eA==",
      ],
    },
    { absent: ["keep-alive", "te", "upgrade", "proxy-connection", "proxy-authorization"] },
  ),
  sent("trailers are asked for where the client asked", { fields: ["te", "gzip, trailers"] }, { fields: { te: "trailers" } }),
  sent(
    "empty lines of X-Forwarded-For leave no gap",
    { fields: ["x-forwarded-for", "1.1.1.1", "x-forwarded-for", ""] },
    {
      fields: { "x-forwarded-for": "1.1.1.1, 192.0.2.1" },
    },
  ),
  sent(
    "fields that Connection names end here",
    { fields: ["connection", "close, x-hop", "x-hop", "1", "x-end", "2"] },
    { fields: { "x-end": "2" }, absent: ["x-hop", "connection"] },
  ),
  sent(
    "naming a field in Connection forges no forwarded fields",
    { fields: ["connection", "x-forwarded-for", "x-forwarded-for", "9.9.9.9"] },
    { fields: { "x-forwarded-for": "192.0.2.1" } },
  ),
  sent(
    "a client's own passport goes nowhere, once or twice",
    { fields: ["x-tidegate-passport", "mine", "x-end", "2", "x-tidegate-passport", "a.b.c"] },
    { fields: { "x-end": "2" }, absent: ["x-tidegate-passport"] },
  ),
  sent(
    "a client's own X-Forwarded-Client-Cert goes nowhere, once or twice",
    {
      fields: [
        "x-forwarded-client-cert",
        "Hash=00;URI=spiffe://mesh/ns/a/sa/admin",
        "x-end",
        "2",
        "x-forwarded-client-cert",
        'Subject="',
      ],
    },
    { fields: { "x-end": "2" }, absent: ["x-forwarded-client-cert"] },
  ),
  sent("Host is the authority's", {}, { authority: "shop.example.com", absent: ["host"] }),
  sent("Via", {}, { fields: { via: "1.1 tidegate" } }),
  sent("Via behind others", { fields: ["via", "1.1 cdn"] }, { fields: { via: "1.1 cdn, 1.1 tidegate" } }),
  sent("Via of an HTTP/1.0 request", { minor: 0 }, { fields: { via: "1.0 tidegate" } }),
  sent(
    "X-Forwarded-*",
    {},
    { fields: { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "http", "x-forwarded-host": "shop.example.com" } },
  ),
  sent("X-Forwarded-Proto over TLS", { scheme: "https" }, { fields: { "x-forwarded-proto": "https" } }),
  sent(
    "the peer is appended to X-Forwarded-For",
    { fields: ["x-forwarded-for", "203.0.113.9"] },
    { fields: { "x-forwarded-for": "203.0.113.9, 192.0.2.1" } },
  ),
  sent(
    "lines of X-Forwarded-For are joined in order",
    { fields: ["x-forwarded-for", "1.1.1.1", "x-forwarded-for", "2.2.2.2"] },
    { fields: { "x-forwarded-for": "1.1.1.1, 2.2.2.2, 192.0.2.1" } },
  ),
  sent(
    "a client's own X-Forwarded-Proto and -Host do not stand",
    { fields: ["x-forwarded-proto", "https", "x-forwarded-host", "evil.test"] },
    { fields: { "x-forwarded-proto": "http", "x-forwarded-host": "shop.example.com" } },
  ),
  sent(
    "a trusted proxy's stand",
    { fields: ["x-forwarded-proto", "https", "x-forwarded-host", "www.example.com"] },
    { fields: { "x-forwarded-proto": "https", "x-forwarded-host": "www.example.com" } },
    1,
  ),
  sent("a request id is kept", { fields: ["x-request-id", "abc"] }, { fields: { "x-request-id": "abc" } }),
  {
    name: "a request id is made",
    snapshot: plain,
    request: {},
    dice: [0, 0.25, 0.5, 0.75, 0.999999],
    expect: { status: 200, upstream: [{ fields: { "x-request-id": "00000000-4000-4000-8000-0000c0000000" } }] },
  },
  back(
    "the origin's fields go through",
    ["server", "origin/1", "x", "1", "set-cookie", "a=1", "set-cookie", "b=2"],
    { server: "origin/1", x: "1", "set-cookie": "a=1, b=2" },
    ["via"],
  ),
  back("Via of a response stays the origin's", ["via", "1.0 cache"], { via: "1.0 cache" }, []),
  {
    name: "a response without Date gets one",
    snapshot: plain,
    request: {},
    origin: [{ status: 200 }],
    expect: { status: 200, fields: { date: "Thu, 01 Jan 2026 00:00:00 GMT" } },
  },
  back("the origin's Date stands", ["date", "Mon, 01 Jan 2024 00:00:00 GMT"], { date: "Mon, 01 Jan 2024 00:00:00 GMT" }, []),
  back(
    "the origin's hop-by-hop fields end here",
    [
      "connection",
      "x-hop",
      "x-hop",
      "1",
      "keep-alive",
      "timeout=5",
      "proxy-authenticate",
      "Basic",
      "proxy-authentication-info",
      "a",
      "upgrade",
      "h2c",
    ],
    {},
    ["connection", "x-hop", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "upgrade"],
  ),
  {
    name: "the origin's status and body go through",
    snapshot: plain,
    request: {},
    origin: [{ status: 418, body: "teapot" }],
    expect: { status: 418, body: "teapot", flags: "-" },
  },
];
