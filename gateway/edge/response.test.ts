import { expect, test } from "vitest";
import { readResponse, relayedResponse } from "./response.ts";

test.each([100, 103, 600, 999])("status %i is none that can be passed on", (status) => {
  const response = { status, headers: new Headers(), body: null } as Response;
  expect(readResponse(response, "GET")).toBeUndefined();
});

test("the platform's own framing is no part of the head, and does not come back by the copy", () => {
  const headers = { "transfer-encoding": "chunked", connection: "keep-alive", "x-a": "1" };
  const origin = readResponse(new Response("abc", { headers }), "GET");
  if (origin === undefined) throw new Error("not read");
  expect(origin.head.fields).toEqual(["content-type", "text/plain;charset=UTF-8", "x-a", "1"]);
  expect(origin.connectionOptions).toEqual(["keep-alive"]);
  const relayed = relayedResponse(origin, origin.head, origin.response.body);
  expect([...relayed.headers.keys()]).toEqual(["content-type", "x-a"]);
});

test("what Connection names is told in lower case, for the fields that end here", () => {
  const headers = { connection: "Close, X-Hop" };
  expect(readResponse(new Response(null, { headers }), "GET")?.connectionOptions).toEqual(["close", "x-hop"]);
  expect(readResponse(new Response(null), "GET")?.connectionOptions).toBeUndefined();
});

test.each([
  ["taken out", ["b", "2"], ["b", "2"]],
  ["replaced", ["b", "2", "a", "9"], ["a", "9", "b", "2"]],
  ["added to", ["a", "1", "b", "2", "a", "9"], ["a", "1, 9", "b", "2"]],
  ["all taken out, and others come", ["c", "3", "d", "4"], ["c", "3", "d", "4"]],
  ["left alone", ["a", "1", "b", "2"], ["a", "1", "b", "2"]],
] as const)("what core has changed of the fields is changed: %s", (_, fields, expected) => {
  const origin = readResponse(new Response(null, { status: 201, headers: { a: "1", b: "2" } }), "GET");
  if (origin === undefined) throw new Error("not read");
  const relayed = relayedResponse(origin, { ...origin.head, fields: [...fields] }, null);
  expect([relayed.status, ...[...relayed.headers].flat()]).toEqual([201, ...expected]);
});
