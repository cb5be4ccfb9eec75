/** What becomes of contenders that cannot start, answer wrongly, fail under load or leave out a feature; load and proxies are stand-ins. */
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import type { Running } from "../tools/processes.ts";
import { Bench } from "./interleave.ts";
import { type Generator, Trouble } from "./load/generator.ts";
import type { Origins } from "./origins.ts";
import type { Peer, RunningPeer } from "./peers/peer.ts";
import type { Contender, Row } from "./rows/row.ts";

const stopped: string[] = [];

function running(name: string): Running {
  const stop = async () => {
    stopped.push(name);
  };
  return { name, pid: process.pid, output: () => "", stop } as Running;
}

function contender(name: string, change: Partial<RunningPeer> = {}, start?: () => Promise<RunningPeer>): Contender {
  const peer: Peer = {
    name,
    missing: () => (name === "absent" ? "absent is not installed" : undefined),
    start: start ?? (async ({ port }) => ({ port, process: running(name), ...change })),
  };
  return { name, peer, workload: { downstream: "http1", upstream: "http1", policies: false } };
}

/** Ports are handed out in the contenders' order, so that the stand-ins know for whom they speak. */
const FIRST_PORT = 45_100;

const generator: Generator = {
  name: "stand-in",
  needs: [],
  check: async (port) => (port === FIRST_PORT + 1 ? "answered 404" : undefined),
  command: (port) => ["echo", String(port)],
  read: (output) => {
    if (Number(output) === FIRST_PORT + 2) throw new Trouble("Socket errors:\n read 1");
    return { done: 100, rate: 50 };
  },
};

async function run(contenders: readonly Contender[], rounds: number, said: string[] = [], change: Partial<Row> = {}) {
  stopped.length = 0;
  const port = running("origin");
  const origins: Origins = {
    ports: { http: 1, grpc: 2, sink: 3 },
    processes: { http: port, grpc: port, sink: port },
    stop: async () => {},
  };
  const bench = new Bench({
    ...{ directory: tmpdir(), origins, rounds, seconds: 0.01, firstPort: FIRST_PORT, firstThrownAway: false },
    tls: { certificate: "", key: "", combined: "" },
    say: (text) => said.push(text),
  });
  const row: Row = {
    name: "row",
    label: "row",
    title: "a row",
    unit: "requests",
    origin: "http",
    generator,
    contenders,
    bars: () => [],
    ...change,
  };
  return (await bench.run([row]))["row"];
}

describe("a row", () => {
  test("has figures of those that can, and a reason for each that cannot", { timeout: 30_000 }, async () => {
    const said: string[] = [];
    const failing = async (): Promise<RunningPeer> => {
      throw new Error("protocol TCP\n  is not supported");
    };
    const contenders = [
      contender("good"),
      contender("wrong answer"),
      contender("trouble"),
      contender("absent"),
      contender("does not start", {}, failing),
    ];
    const result = await run(contenders, 2, said);
    expect(Object.keys(result?.figures ?? {})).toEqual(["good"]);
    expect(result?.figures["good"]).toMatchObject({ rate: 50, rounds: 2, dropped: [] });
    expect(result?.refused).toEqual({
      "wrong answer": "answered 404",
      trouble: "no round counted: Socket errors: read 1",
      absent: "absent is not installed",
      "does not start": "protocol TCP is not supported",
    });
    expect(stopped).toEqual(["good", "wrong answer", "trouble"]);
    expect(said).toContain("row: trouble: round 2 does not count: Socket errors: read 1");
    expect(said.filter((line) => line.startsWith("row: round"))).toEqual([
      "row: round 1 of 2, 2 in turn",
      "row: round 2 of 2, 2 in turn",
    ]);
  });

  test("is preceded by what each contender is to have served, once", { timeout: 30_000 }, async () => {
    const loads: string[] = [];
    const told = (name: string): Generator => ({
      ...generator,
      command: (port, seconds) => ["echo", `${name} ${port - FIRST_PORT} ${seconds}`],
      read: (output) => {
        loads.push(output.trim());
        if (output.startsWith("before 1")) throw new Trouble("Socket errors: read 1");
        return { done: 100, rate: 50 };
      },
    });
    const served = { generator: { ...told("before"), check: async () => undefined }, seconds: 0.02 };
    const row = { generator: { ...told("round"), check: async () => undefined }, served };
    const result = await run([contender("good"), contender("fails")], 1, [], row);
    expect(loads).toEqual(["before 0 0.02", "before 1 0.02", "round 0 0.01"]);
    expect(result?.refused).toEqual({ fails: "Socket errors: read 1" });
  });

  test("has no figures of a proxy that left out what the others did", { timeout: 30_000 }, async () => {
    const result = await run([contender("idle", { idleFeature: async () => "access log" })], 1);
    expect(result).toMatchObject({ refused: { idle: "its access log is not on" } });
  });

  test("waits for a log that is written a little later", { timeout: 30_000 }, async () => {
    let asked = 0;
    const idleFeature = async () => (++asked < 3 ? "access log" : undefined);
    expect((await run([contender("good", { idleFeature })], 1))?.refused).toEqual({});
    expect(asked).toBe(3);
  });
});
