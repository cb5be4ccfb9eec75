import { expect, test } from "vitest";
import { MAX_WHOLE_BODY_BYTES, PassedBody } from "./passed-body.ts";

function stream(...parts: readonly number[]): ReadableStream<Uint8Array> {
  const left = [...parts];
  return new ReadableStream({
    pull: (controller) => {
      const bytes = left.shift();
      if (bytes === undefined) controller.close();
      else controller.enqueue(new Uint8Array(bytes));
    },
  });
}

test.each([
  ["empty", 0, []],
  ["small", 3, [3]],
  ["as large as it may be", MAX_WHOLE_BODY_BYTES, [MAX_WHOLE_BODY_BYTES]],
] as const)("%s and all there: whole", async (_, length, parts) => {
  const body = new PassedBody(stream(...parts), length);
  expect((await body.whole())?.byteLength).toBe(length);
  expect(body.bytes).toBe(length);
});

test.each([
  ["in parts", 6, [3, 3]],
  ["shorter than it said", 6, [3]],
  ["of unknown length", undefined, [3]],
] as const)("%s: a stream", async (_, length, parts) => {
  const body = new PassedBody(stream(...parts), length);
  expect(await body.whole()).toBeUndefined();
  expect(body.bytes).toBe(0);
});

test("longer than MAX_WHOLE_BODY_BYTES: not even looked at", async () => {
  const source = stream(MAX_WHOLE_BODY_BYTES + 1);
  expect(await new PassedBody(source, MAX_WHOLE_BODY_BYTES + 1).whole()).toBeUndefined();
  expect(source.locked).toBe(false);
});

test("one that breaks off at once is a stream that will", async () => {
  const broken = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error("lost")) });
  expect(await new PassedBody(broken, 3).whole()).toBeUndefined();
});
