import { expect, it } from "vitest";
import { countWaiting } from "./accept-queue.ts";

const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 71 1
   1: 00000000:1F90 00000000:0000 0A 00000000:00000012 00:00000000 00000000     0        0 72 1
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000007 00:00000000 00000000     0        0 73 1
   3: 0100007F:1F90 0100007F:A0C4 01 00000000:000000FF 00:00000000 00000000     0        0 74 1
`;

it("adds up what waits at the listening sockets of a port, and tells how much of the table that takes", () => {
  const both = countWaiting(TABLE, 8080, undefined);
  expect(both).toEqual({ waiting: 3 + 18, size: TABLE.indexOf("   2:") });
  expect(countWaiting(TABLE.slice(0, both.size), 8080, undefined)).toEqual(both);
  expect(countWaiting(TABLE, 8081, undefined).waiting).toBe(7);
  expect(countWaiting(TABLE, 8082, undefined)).toEqual({ waiting: 0, size: 0 });
  expect(countWaiting(TABLE, 8080, 72)).toEqual({ waiting: 18, size: both.size });
  expect(countWaiting(TABLE, 8080, 73).size).toBe(0);
  expect(countWaiting("", 8080, undefined)).toEqual({ waiting: 0, size: 0 });
});
