/**
 * What the HTTP/1.1 codec costs per message, in microseconds of one core. By hand: `node test/bench/micro/http1.ts [--rounds N]`.
 *
 * The messages are wrk's GET and nginx's answer with 1 KiB; each line is the median of the rounds.
 */
import {
  encodeRequestHead,
  encodeResponseHead,
  type Latin1Decoder,
  type Latin1Encoder,
  RequestParser,
  RequestParserSettings,
  ResponseParser,
  ResponseParserSettings,
} from "../../../gateway/wire/index.ts";

const ROUNDS = Number(process.argv[process.argv.indexOf("--rounds") + 1]) || 7;
const MESSAGES = 100_000;

/** Node's own, which its types leave out. */
type NativeBuffer = Buffer & { latin1Slice(start: number, end: number): string; latin1Write(text: string, at: number): number };
const native: Latin1Decoder = (bytes, start, end) => (bytes as NativeBuffer).latin1Slice(start, end);
const request = Buffer.from("GET /api/v1/items HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
const browser = Buffer.from(
  "GET /products/42?colour=blue HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
    "Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\n" +
    "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nPriority: u=0, i\r\nX-Request-Id: 7f6c0b0e-2f0a-4c0e-9a39-3a1c0d6f0a11\r\n\r\n",
);
const response = Buffer.concat([
  Buffer.from(
    "HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Mon, 23 Nov 2026 04:00:00 GMT\r\nContent-Type: application/octet-stream\r\n" +
      'Content-Length: 1024\r\nLast-Modified: Mon, 23 Nov 2026 03:00:00 GMT\r\nConnection: keep-alive\r\nETag: "6561c2a0-400"\r\nAccept-Ranges: bytes\r\n\r\n',
  ),
  Buffer.alloc(1024, 0x61),
]);

let sink = 0;
const out = Buffer.alloc(64 * 1024) as NativeBuffer;
const encode: Latin1Encoder = (into, text, at) => (into as NativeBuffer).latin1Write(text, at);
const KEEP = { keepAlive: true };
const ANSWER = { keepAlive: true, method: "GET", minor: 1 } as const;

function readRequests(parser: RequestParser, bytes: Buffer, write: boolean): void {
  parser.feed(bytes);
  for (let event = parser.next(); event.kind !== "need"; event = parser.next()) {
    if (event.kind === "error") throw new Error(event.error.message);
    if (event.kind === "head") sink += write ? encodeRequestHead(event.head, KEEP, out, 0, encode) : event.head.fields.length;
  }
}

function readResponses(parser: ResponseParser, bytes: Buffer, write: boolean): void {
  parser.expect("GET");
  parser.feed(bytes);
  for (let event = parser.next(); event.kind !== "need"; event = parser.next()) {
    if (event.kind === "error") throw new Error(event.error.message);
    if (event.kind === "body") sink += event.bytes.length;
    if (event.kind === "head") {
      sink += write ? encodeResponseHead(event.head, ANSWER, out, 0, encode) : event.head.fields.length;
    }
  }
}

function measure(name: string, run: () => void): void {
  const samples: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < MESSAGES; i++) run();
    const { user, system } = process.cpuUsage(before);
    if (round > 0) samples.push((user + system) / MESSAGES);
  }
  samples.sort((a, b) => a - b);
  const median = samples[samples.length >> 1] ?? Number.NaN;
  process.stdout.write(`${name.padEnd(46)} ${median.toFixed(3)} µs\n`);
}

for (const [decoder, decode] of [
  ["native", native],
  ["portable", undefined],
] as const) {
  const options = decode === undefined ? {} : { decode };
  const requests = new RequestParser(new RequestParserSettings(options));
  const responses = new ResponseParser(new ResponseParserSettings(options));
  measure(`${decoder}: small request, parse`, () => readRequests(requests, request, false));
  measure(`${decoder}: small request, parse and write`, () => readRequests(requests, request, true));
  measure(`${decoder}: response 1 KiB, parse`, () => readResponses(responses, response, false));
  measure(`${decoder}: response 1 KiB, parse and write`, () => readResponses(responses, response, true));
  measure(`${decoder}: both, parse and write`, () => {
    readRequests(requests, request, true);
    readResponses(responses, response, true);
  });
  measure(`${decoder}: browser request, parse and write`, () => readRequests(requests, browser, true));
}
if (sink === 0) process.exitCode = 1;
