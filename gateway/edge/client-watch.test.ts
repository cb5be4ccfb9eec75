import { expect, test } from "vitest";
import { NO_BODY, type SendStep } from "../core/index.ts";
import { ClientWatch, needsWatch } from "./client-watch.ts";

test("who is served hears of it until it is over", () => {
  let gone = 0;
  const watch = new ClientWatch({ onGone: () => void gone++ });
  watch.handleEvent();
  expect(gone).toBe(1);
  watch.end();
  watch.handleEvent();
  expect(gone).toBe(1);
});

const target: SendStep["target"] = { endpoint: {} as never, pool: {} as never, tls: undefined };
const head = { method: "GET", scheme: "http", authority: "a.test", target: "/", fields: [], body: NO_BODY } as const;
const PLAIN: SendStep = {
  kind: "send",
  target,
  head: { ...head, fields: [] },
  deadlineMs: undefined,
  keepBody: false,
  isAwaited: false,
  mirrors: [],
};

test("an attempt that nobody has to know the end of needs no watch", () => {
  expect(needsWatch(PLAIN)).toBe(false);
});

test.each([
  ["something is held", { isAwaited: true }],
  ["its time is limited", { deadlineMs: 1 }],
  ["it asks for another protocol", { switchTo: "websocket" }],
  ["copies of it go out", { mirrors: [{ target, head: { ...head, fields: [] } }] }],
  [
    "it goes through a cluster's gateway",
    { target: { ...target, via: { kind: "passport", cluster: "main", destination: "b" } } },
  ],
] as const)("one does where %s", (_, more) => {
  expect(needsWatch({ ...PLAIN, ...more } as SendStep)).toBe(true);
});
