import { describe, expect, it } from "vitest";
import { TunnelCaps } from "./egress.ts";

const peer = (address: string) => ({ address, port: 1 });

describe("TunnelCaps", () => {
  it("bounds all tunnels and each client's, and gives places back", () => {
    const caps = new TunnelCaps(3, 2);
    expect([caps.acquire(peer("a")), caps.acquire(peer("a")), caps.acquire(peer("a"))]).toEqual([true, true, false]);
    expect([caps.acquire(peer("b")), caps.acquire(peer("b"))]).toEqual([true, false]);
    caps.release(peer("a"));
    expect(caps.open).toBe(2);
    expect(caps.acquire(peer("b"))).toBe(true);
    for (const address of ["a", "b", "b"]) caps.release(peer(address));
    expect(caps.open).toBe(0);
  });
});
