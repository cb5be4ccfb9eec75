import { expect, it } from "vitest";
import { agreedFields, connectFields, isAccepted, switchedFields, upgradeFields } from "./websocket.ts";

// RFC 6455 1.3.
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

it("keeps a client's key on its way to an origin of HTTP/1.1", () => {
  const { fields, accept } = upgradeFields(["sec-websocket-key", KEY, "a", "1"]);
  expect(fields).toEqual(["sec-websocket-key", KEY, "a", "1", "upgrade", "websocket"]);
  expect(accept).toBe(ACCEPT);
  expect(isAccepted(["sec-websocket-accept", ACCEPT], accept)).toBe(true);
  expect(isAccepted(["sec-websocket-accept", "x"], accept)).toBe(false);
  expect(isAccepted([], accept)).toBe(false);
});

it("makes a key, new each time, where the client had none", () => {
  const [one, two] = [upgradeFields([]), upgradeFields([])];
  expect(Buffer.from(one.fields[3] ?? "", "base64")).toHaveLength(16);
  expect(one.fields[3]).not.toBe(two.fields[3]);
  expect(one.accept).not.toBe(two.accept);
});

it("gives a client of HTTP/1.1 its echo when the origin agreed by HTTP/2", () => {
  const { fields, accept } = connectFields(["a", "1", "sec-websocket-key", KEY]);
  expect(fields).toEqual(["a", "1"]);
  expect(switchedFields(["b", "2"], accept)).toEqual(["b", "2", "sec-websocket-accept", ACCEPT]);
  expect(connectFields(["a", "1"]).accept).toBeUndefined();
  expect(switchedFields(["b", "2"], undefined)).toEqual(["b", "2"]);
});

it("tells a client of HTTP/2 of no echo", () => {
  expect(agreedFields(["sec-websocket-accept", ACCEPT, "sec-websocket-protocol", "chat"])).toEqual([
    "sec-websocket-protocol",
    "chat",
  ]);
});
