import { describe, expect, test } from "vitest";
import type { BodyKind } from "../core/index.ts";
import { type Content, MAX_MIRROR_BODY_BYTES, RequestBody } from "./request-body.ts";

function stream(...parts: readonly string[]): ReadableStream<Uint8Array> {
  const left = parts.map((part) => new TextEncoder().encode(part));
  return new ReadableStream({
    pull: (controller) => {
      const part = left.shift();
      if (part === undefined) controller.close();
      else controller.enqueue(part);
    },
  });
}
const made = (source: ReadableStream<Uint8Array>, kind: BodyKind, maxBytes: number, giveUp: () => void = () => {}) =>
  new RequestBody(source, kind, maxBytes, giveUp);
const textOf = (content: Content) => new Response(content as BodyInit | null).text();
const length = (bytes: number): BodyKind => ({ kind: "length", bytes });
const unknown: BodyKind = { kind: "stream" };

describe("a request's body", () => {
  test("none, or of length 0, is none", async () => {
    for (const kind of [{ kind: "none" }, length(0)] as const) {
      const body = made(stream("x"), kind, 0);
      expect(await body.content(100)).toBeNull();
      expect(body).toMatchObject({ isEmpty: true, isReplayable: true, bytes: 0 });
    }
  });

  test("of declared length and not to be kept: handed on untouched, once", async () => {
    const source = stream("hello");
    const body = made(source, length(5), 0);
    expect(body.isReplayable).toBe(true);
    expect(await body.content(0)).toBe(source);
    expect(body).toMatchObject({ isReplayable: false, bytes: 5, kept: undefined });
  });

  test.each([
    ["declared", length(6)],
    ["unknown", unknown],
  ])("kept, %s: every attempt gets all of it", async (_, kind) => {
    const body = made(stream("hel", "lo!"), kind, 0);
    expect(await textOf(await body.content(6))).toBe("hello!");
    expect(await textOf(await body.content(6))).toBe("hello!");
    expect(body).toMatchObject({ isReplayable: true, bytes: 6 });
  });

  test("longer than what is kept: sent in full, but only once", async () => {
    const body = made(stream("hel", "lo", " world"), unknown, 0);
    expect(await textOf(await body.content(4))).toBe("hello world");
    expect(body).toMatchObject({ isReplayable: false, bytes: 11, kept: undefined });
  });

  test("declared longer than MAX_MIRROR_BODY_BYTES: not read at all", async () => {
    const source = stream("x");
    const body = made(source, length(MAX_MIRROR_BODY_BYTES + 1), 0);
    expect(await body.content(MAX_MIRROR_BODY_BYTES)).toBe(source);
    expect(source.locked).toBe(false);
  });

  test("of unknown length and not kept: counted", async () => {
    const body = made(stream("hel", "lo"), unknown, 0);
    expect(await textOf(await body.content(0))).toBe("hello");
    expect(body.bytes).toBe(5);
  });

  test("longer than it may be", async () => {
    expect(made(stream("x"), length(6), 5).isTooLarge).toBe(true);
    for (const keep of [0, 100]) {
      const body = await new Promise<RequestBody>((resolve) => {
        const long = made(stream("hel", "lo!"), unknown, 5, () => resolve(long));
        void long.content(keep).then(textOf);
      });
      expect(body).toMatchObject({ isTooLarge: true, isReplayable: false });
    }
    const fits = made(stream("hello"), unknown, 5);
    expect(await textOf(await fits.content(0))).toBe("hello");
    expect(fits.isTooLarge).toBe(false);
  });

  test("one that breaks off gives its attempt up, and never ends", async () => {
    const broken = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error("the client is gone")) });
    let ended = false;
    await new Promise<void>((resolve) => {
      void made(broken, unknown, 0, resolve)
        .content(0)
        .then(textOf)
        .then(() => (ended = true));
    });
    expect(ended).toBe(false);
    const kept = made(new ReadableStream({ start: (controller) => controller.error(new Error("gone")) }), length(3), 0);
    await expect(kept.content(10)).rejects.toThrow("broke off");
    expect(kept.isBroken).toBe(true);
  });

  test("an attempt that sent nothing gives it back, unless somebody has begun to read", async () => {
    const source = stream("hello");
    const body = made(source, length(5), 0);
    await body.content(0);
    body.giveBack();
    expect(body.isReplayable).toBe(true);
    await body.content(0);
    source.getReader();
    body.giveBack();
    expect(body.isReplayable).toBe(false);
  });

  test("an attempt that gave up while it was read does not stop the reading", async () => {
    const body = made(stream("a", "b"), length(2), 0);
    void body.content(10);
    expect(body.isReplayable).toBe(true);
    expect(await textOf(await body.content(10))).toBe("ab");
  });
});
