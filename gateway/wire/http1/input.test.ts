import { expect, test } from "vitest";
import { Input } from "./input.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const held = (input: Input): number[] => [...input.bytes.subarray(input.pos, input.end)];

test("a chunk that is consumed is let go of", () => {
  const input = new Input();
  input.feed(bytes(1, 2));
  input.pos = 2;
  input.settle();
  expect(input.bytes).toHaveLength(0);
});

test("a chunk is used where it lies", () => {
  const input = new Input();
  const chunk = bytes(1, 2);
  input.feed(chunk);
  expect(input.bytes).toBe(chunk);
});

test("what is not consumed is copied, and more is appended", () => {
  const input = new Input();
  const chunk = bytes(1, 2, 3);
  input.feed(chunk);
  input.pos = 1;
  input.settle();
  chunk.fill(9);
  input.feed(bytes(4));
  expect(held(input)).toEqual([2, 3, 4]);
});

test("appending byte by byte copies each byte about once", () => {
  const input = new Input();
  const buffers = new Set<ArrayBufferLike>();
  for (let i = 0; i < 10_000; i++) {
    input.feed(bytes(i & 255));
    input.settle();
    buffers.add(input.bytes.buffer);
  }
  expect(held(input)).toHaveLength(10_000);
  expect(buffers.size).toBeLessThan(10);
});

test("views stay as they were when more comes than there was room for", () => {
  const input = new Input();
  input.feed(bytes(1, 2, 3));
  input.settle();
  const view = input.bytes.subarray(input.pos, input.pos + 2);
  input.pos += 2;
  for (let i = 0; i < 1_000; i++) input.feed(bytes(7));
  expect([...view]).toEqual([1, 2]);
  expect(held(input)).toHaveLength(1_001);
});

test("the rest is given back once", () => {
  const input = new Input();
  input.feed(bytes(1, 2, 3));
  input.pos = 1;
  expect([...input.take()]).toEqual([2, 3]);
  expect(input.take()).toHaveLength(0);
});
