import { describe, expect, test } from "vitest";
import { PROTOCOL_ERROR_CODES } from "../../gateway/wire/http1/errors.ts";
import { RequestParser, RequestParserSettings, ResponseParser, ResponseParserSettings } from "../../gateway/wire/index.ts";
import { CHUNKS, REQUESTS } from "./requests.ts";
import { RESPONSES } from "./responses.ts";
import { requestLines, responseLines, splits, transcribeRequests, transcribeResponses } from "./transcript.ts";

const requestSettings = new RequestParserSettings();
const responseSettings = new ResponseParserSettings();
/** What lies in a broken connection is of no interest: an error clears it, a wait keeps it. */
const bytesOf = (raw: string): Uint8Array => Buffer.from(raw, "latin1");

describe("requests", () => {
  test.each([...REQUESTS, ...CHUNKS])("%s", (_name, raw, lines) => {
    const whole = transcribeRequests(new RequestParser(requestSettings), [bytesOf(raw)]);
    expect(withoutRestOfError(requestLines(whole))).toEqual(lines);
  });

  test.each([...REQUESTS, ...CHUNKS])("%s: split anywhere", (_name, raw, lines) => {
    for (const chunks of splits(bytesOf(raw))) {
      const transcript = transcribeRequests(new RequestParser(requestSettings), chunks);
      expect(withoutRestOfError(requestLines(transcript))).toEqual(lines);
    }
  });
});

describe("responses", () => {
  test.each(RESPONSES)("%s", (_name, method, raw, lines) => {
    const whole = transcribeResponses(new ResponseParser(responseSettings), [bytesOf(raw)], method, true);
    expect(withoutRestOfError(responseLines(whole))).toEqual(lines);
  });

  test.each(RESPONSES)("%s: split anywhere", (_name, method, raw, lines) => {
    for (const chunks of splits(bytesOf(raw))) {
      const transcript = transcribeResponses(new ResponseParser(responseSettings), chunks, method, true);
      expect(withoutRestOfError(responseLines(transcript))).toEqual(lines);
    }
  });
});

test("every way to refuse has a case, here or beside the limits and the end of connections", () => {
  const lines = [...REQUESTS, ...CHUNKS].flatMap(([, , told]) => told).concat(RESPONSES.flatMap(([, , , told]) => told));
  const elsewhere = PROTOCOL_ERROR_CODES.filter((code) => !lines.includes(`! ${code}`));
  expect(elsewhere.sort()).toEqual([
    "body_too_large",
    "chunk_header_too_large",
    "header_too_large",
    "request_line_too_long",
    "status_line_too_long",
    "too_many_headers",
    "too_many_interim_responses",
    "too_many_trailers",
    "trailer_too_large",
    "unexpected_response",
  ]);
});

function withoutRestOfError(lines: readonly string[]): readonly string[] {
  return lines.some((line) => line.startsWith("! ")) ? lines.filter((line) => !line.startsWith("rest ")) : lines;
}
