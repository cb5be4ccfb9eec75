import { expect, it } from "vitest";
import { clientAddress } from "./forwarded.ts";
import { isHopByHop } from "./hop-by-hop.ts";
import { NO_BODY } from "./message.ts";
import { newRequestId } from "./request-id.ts";
import { downstreamFields, httpDate } from "./response-fields.ts";

it.each([
  ["no proxy trusted: the peer", "1.1.1.1", 0, "192.0.2.1"],
  ["one: the last entry", "1.1.1.1, 2.2.2.2", 1, "2.2.2.2"],
  ["two: the one before", "1.1.1.1, 2.2.2.2", 2, "1.1.1.1"],
  ["more than there are entries: the peer", "1.1.1.1, 2.2.2.2", 3, "192.0.2.1"],
  ["port and brackets are cut off", "[2001:DB8:0::1]:443", 1, "2001:db8::1"],
  ["IPv4 with port", "1.2.3.4:5678", 1, "1.2.3.4"],
  ["mapped IPv4 is IPv4", "::ffff:1.2.3.4", 1, "1.2.3.4"],
  ["bare IPv6", "2001:db8::1", 1, "2001:db8::1"],
  ["no address: the peer", "unknown", 1, "192.0.2.1"],
  ["octal is no address", "010.1.1.1", 1, "192.0.2.1"],
  ["a zone is no address", "fe80::1%eth0", 1, "192.0.2.1"],
  ["an open bracket", "[2001:db8::1", 1, "192.0.2.1"],
  ["empty", "", 1, "192.0.2.1"],
  ["empty last entry", "1.1.1.1,", 1, "192.0.2.1"],
])("client address: %s", (_, value, trusted, address) => {
  expect(clientAddress(["x-forwarded-for", value], "192.0.2.1", trusted)).toBe(address);
});

it("lines of X-Forwarded-For are one list", () => {
  expect(clientAddress(["x-forwarded-for", "1.1.1.1", "x-forwarded-for", "2.2.2.2"], "9.9.9.9", 2)).toBe("1.1.1.1");
  expect(clientAddress([], "9.9.9.9", 2)).toBe("9.9.9.9");
});

it("hop-by-hop fields", () => {
  const hops =
    "connection keep-alive proxy-connection te transfer-encoding upgrade proxy-authorization proxy-authenticate host content-length";
  for (const name of hops.split(" ")) expect(isHopByHop(name), name).toBe(true);
  for (const name of ["trailer", "expect", "via", "authorization", "cookie", "x-hop-by-hop", ""])
    expect(isHopByHop(name), name).toBe(false);
});

it("fields that the origin's Connection names stay behind", () => {
  const fields = ["a", "1", "connection", "b", "b", "2", "date", "then"];
  expect(downstreamFields({ status: 200, fields, body: NO_BODY }, ["b"], { unixMs: () => 0 })).toEqual([
    "a",
    "1",
    "date",
    "then",
  ]);
});

it("request ids are version 4 UUIDs and differ with the dice", () => {
  let state = 1;
  const random = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const ids = Array.from({ length: 100 }, () => newRequestId(random));
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(100);
  expect(newRequestId(() => 0.9999999999)).toBe("ffffffff-ffff-4fff-bfff-ffffffffffff");
});

it("dates are IMF-fixdate", () => {
  expect(httpDate(Date.UTC(1994, 10, 6, 8, 49, 37) + 999)).toBe("Sun, 06 Nov 1994 08:49:37 GMT");
  expect(httpDate(Date.UTC(1994, 10, 6, 8, 49, 38))).toBe("Sun, 06 Nov 1994 08:49:38 GMT");
});
