import { expect, it } from "vitest";
import { PrefaceWatch } from "./preface-watch.ts";

const feed = (...parts: string[]) => {
  const watch = new PrefaceWatch();
  const told = parts.map((part) => watch.feed(Buffer.from(part)));
  return [...told, Buffer.from(watch.held).toString()];
};

it.each([
  ["at once", ["PRI * HTTP/2.0\r\n"], ["http2", "PRI * HTTP/2.0\r\n"]],
  ["in pieces", ["P", "R", "I", " *"], ["more", "more", "more", "http2", "PRI *"]],
  ["a request", ["GET / HTTP/1.1\r\n"], ["http1", ""]],
  ["a method that begins alike", ["PR", "OPFIND / HTTP/1.1\r\n"], ["more", "http1", "PR"]],
  ["a method that is longer", ["PRIX / HTTP/1.1"], ["http1", ""]],
])("%s", (_, parts, expected) => {
  expect(feed(...parts)).toEqual(expected);
});
