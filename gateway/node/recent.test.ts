import { expect, test } from "vitest";
import { Recent } from "./recent.ts";
import { MAX_LIVE_SERVERS } from "./tls.ts";

test("what was used longest ago falls out when there is one too many", () => {
  const dropped: number[] = [];
  const recent = new Recent<number>(MAX_LIVE_SERVERS, (item) => dropped.push(item));
  for (let i = 0; i < MAX_LIVE_SERVERS; i++) recent.use(i);
  recent.use(0);
  expect(dropped).toEqual([]);
  recent.use(MAX_LIVE_SERVERS);
  recent.use(MAX_LIVE_SERVERS + 1);
  expect(dropped).toEqual([1, 2]);
  recent.keep((item) => item > 10);
  recent.use(0);
  expect(dropped).toEqual([1, 2]);
});
