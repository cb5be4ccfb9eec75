import { describe, expect, test } from "vitest";
import { DEFAULT_HTTP1_LIMITS, type Http1Limits } from "./limits.ts";
import { RequestParser, RequestParserSettings } from "./request.ts";
import { ResponseParser, ResponseParserSettings } from "./response.ts";

type Outcome = string;

function request(limits: Partial<Http1Limits>, raw: string, chunkBytes: number): Outcome {
  const parser = new RequestParser(new RequestParserSettings({ limits: { ...DEFAULT_HTTP1_LIMITS, ...limits } }));
  return drive(parser, raw, chunkBytes, () => {});
}

function response(limits: Partial<Http1Limits>, raw: string, chunkBytes: number): Outcome {
  const parser = new ResponseParser(new ResponseParserSettings({ limits: { ...DEFAULT_HTTP1_LIMITS, ...limits } }));
  parser.expect("GET");
  return drive(parser, raw, chunkBytes, () => parser.expect("GET"));
}

/** `end` when at least one message was complete, an error's code, or `need`. */
function drive(parser: RequestParser | ResponseParser, raw: string, chunkBytes: number, ended: () => void): Outcome {
  const bytes = Buffer.from(raw, "latin1");
  let outcome: Outcome = "need";
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    parser.feed(bytes.subarray(at, at + chunkBytes));
    for (let event = parser.next(); event.kind !== "need"; event = parser.next()) {
      if (event.kind === "error") return `${event.error.code} ${event.error.status}`;
      if (event.kind === "end") {
        outcome = "end";
        ended();
      }
    }
  }
  return outcome;
}

const HOST = "Host: a\r\n";
const GET = `GET / HTTP/1.1\r\n${HOST}`;
const POST = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
const x = (count: number): string => "x".repeat(count);

type Row = readonly [limit: keyof Http1Limits, value: number, within: string, beyond: string, refusal: string];

const REQUEST_ROWS: readonly Row[] = [
  [
    "maxRequestLineBytes",
    20,
    `GET /${x(6)} HTTP/1.1\r\n${HOST}\r\n`,
    `GET /${x(7)} HTTP/1.1\r\n${HOST}\r\n`,
    "request_line_too_long 414",
  ],
  ["maxHeaderBytes", 20, `${GET}x: ${x(6)}\r\n\r\n`, `${GET}x: ${x(7)}\r\n\r\n`, "header_too_large 431"],
  ["maxHeaderCount", 2, `${GET}x: 1\r\n\r\n`, `${GET}x: 1\r\nx: 2\r\n\r\n`, "too_many_headers 431"],
  ["maxRequestBodyBytes", 3, `${GET}Content-Length: 3\r\n\r\nabc`, `${GET}Content-Length: 4\r\n\r\nabcd`, "body_too_large 413"],
  [
    "maxRequestBodyBytes",
    3,
    `${POST}1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`,
    `${POST}1\r\na\r\n3\r\nbcd\r\n0\r\n\r\n`,
    "body_too_large 413",
  ],
  ["maxChunkHeaderBytes", 4, `${POST}0;ab\r\n\r\n`, `${POST}0;abc\r\n\r\n`, "chunk_header_too_large 400"],
  ["maxChunkHeaderBytes", 4, `${POST}0000\r\n\r\n`, `${POST}00000\r\n\r\n`, "chunk_header_too_large 400"],
  ["maxTrailerBytes", 10, `${POST}0\r\nx: ${x(5)}\r\n\r\n`, `${POST}0\r\nx: ${x(6)}\r\n\r\n`, "trailer_too_large 431"],
  ["maxTrailerCount", 1, `${POST}0\r\nx: 1\r\n\r\n`, `${POST}0\r\nx: 1\r\ny: 2\r\n\r\n`, "too_many_trailers 431"],
  ["maxLeadingEmptyLines", 1, `\r\n${GET}\r\n`, `\r\n\r\n${GET}\r\n`, "too_many_empty_lines 400"],
];

const INTERIM = "HTTP/1.1 100 Continue\r\n\r\n";
const FINAL = "HTTP/1.1 204 No\r\n";

const RESPONSE_ROWS: readonly Row[] = [
  ["maxStatusLineBytes", 20, `HTTP/1.1 204 ${x(7)}\r\n\r\n`, `HTTP/1.1 204 ${x(8)}\r\n\r\n`, "status_line_too_long 400"],
  ["maxHeaderBytes", 20, `${FINAL}x: ${x(15)}\r\n\r\n`, `${FINAL}x: ${x(16)}\r\n\r\n`, "header_too_large 431"],
  ["maxHeaderCount", 1, `${FINAL}x: 1\r\n\r\n`, `${FINAL}x: 1\r\ny: 2\r\n\r\n`, "too_many_headers 431"],
  ["maxInterimResponses", 1, `${INTERIM}${FINAL}\r\n`, `${INTERIM}${INTERIM}${FINAL}\r\n`, "too_many_interim_responses 400"],
];

describe.each([
  ["request", request, REQUEST_ROWS],
  ["response", response, RESPONSE_ROWS],
] as const)("%s limits, from both sides", (_name, run, rows) => {
  for (const chunkBytes of [1, 3, 4096]) {
    test.each(rows)(`%s %s in chunks of ${chunkBytes}`, (limit, value, within, beyond, refusal) => {
      expect(run({ [limit]: value }, within, chunkBytes)).toBe("end");
      expect(run({ [limit]: value }, beyond, chunkBytes)).toBe(refusal);
    });
  }
});

test("a line that never ends is refused without waiting for its end", () => {
  expect(request({ maxRequestLineBytes: 100 }, `GET /${x(200)}`, 7)).toBe("request_line_too_long 414");
  expect(request({ maxHeaderBytes: 100 }, `${GET}x: ${x(200)}`, 7)).toBe("header_too_large 431");
  expect(request({ maxHeaderBytes: 100 }, `${GET}${x(200)}`, 7)).toBe("header_too_large 431");
  expect(response({ maxStatusLineBytes: 100 }, `HTTP/1.1 200 ${x(200)}`, 7)).toBe("status_line_too_long 400");
});
