import { expect, it } from "vitest";
import { decodeLatin1, writeLatin1 } from "./latin1.ts";

const ALL = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));

it("writes and reads every byte as the character of its number", () => {
  const bytes = Buffer.alloc(300);
  expect(writeLatin1(bytes, ALL, 20)).toBe(256);
  expect(decodeLatin1(bytes, 20, 276)).toBe(ALL);
  expect(decodeLatin1(new Uint8Array(bytes), 20, 276)).toBe(ALL);
  expect(decodeLatin1(new Uint8Array(bytes.buffer, bytes.byteOffset + 20, 256), 65, 68)).toBe("ABC");
});
