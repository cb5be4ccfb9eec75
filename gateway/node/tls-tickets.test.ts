import { expect, test } from "vitest";
import { TICKET_PERIOD_MS, TICKET_SECRET_BYTES, ticketKeys, ticketPeriod } from "./tls-tickets.ts";

test("all threads make the same keys, which change with the secret, the time and what a session stands for", () => {
  const secret = Buffer.alloc(TICKET_SECRET_BYTES, 7);
  const keys = ticketKeys(secret, "server a", 3);
  expect(keys).toHaveLength(48);
  expect(ticketKeys(Uint8Array.from(secret), "server a", 3)).toEqual(keys);
  const others = [
    ticketKeys(Buffer.alloc(TICKET_SECRET_BYTES, 8), "server a", 3),
    ticketKeys(secret, "server b", 3),
    ticketKeys(secret, "server a", 4),
  ];
  for (const other of others) expect(other).not.toEqual(keys);
  expect([0, TICKET_PERIOD_MS - 1, TICKET_PERIOD_MS].map(ticketPeriod)).toEqual([0, 0, 1]);
});
