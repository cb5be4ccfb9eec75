import { describe, expect, test } from "vitest";
import { readAb } from "./ab.ts";
import { Trouble } from "./generator.ts";
import { readH2load } from "./h2load.ts";
import { type PacedReport, readPaced } from "./paced.ts";
import { readWrk, wrk } from "./wrk.ts";

const WRK = `Running 2s test @ http://127.0.0.1:19100/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   678.90us  120.00us   9.00ms   90.00%
    Req/Sec    47.00k     1.20k   49.00k    80.00%
  Latency Distribution
     50%  670.00us
     75%  700.00us
     90%  800.00us
     99%    1.25ms
  94321 requests in 2.00s, 110.00MB read
Requests/sec:  47155.10
Transfer/sec:     55.00MB
`;

describe("wrk", () => {
  test("its figures are read with their units", () => {
    expect(readWrk(WRK)).toEqual({ done: 94_321, rate: 47_155.1, p50Ms: 0.67, p99Ms: 1.25 });
    expect(readWrk(WRK.replace("1.25ms", "1.25s")).p99Ms).toBe(1250);
    expect(readWrk(WRK.replace("1.25ms", "1.50m")).p99Ms).toBe(90_000);
    expect(readWrk(WRK.replace("1.25ms", "-nanus"))).toEqual({ done: 94_321, rate: 47_155.1, p50Ms: 0.67 });
  });

  test.each(["  Non-2xx or 3xx responses: 1", "  Socket errors: connect 0, read 1, write 0, timeout 0"])(
    "%s: the round does not count",
    (line) => {
      expect(() => readWrk(`${WRK}${line}\n`)).toThrow(new Trouble(line.trim()));
    },
  );

  test("nothing answered: the round does not count", () => {
    expect(() => readWrk("")).toThrow(Trouble);
  });

  test("arguments of a script come after the address", () => {
    const generator = wrk({
      path: "/a",
      tls: true,
      connections: 3,
      expect: { bytes: 1 },
      script: { file: "hosts.lua", arguments: ["5", "2"] },
    });
    const command = generator.command(80, 4, "");
    expect(command.slice(0, 5)).toEqual(["wrk", "-t1", "-c3", "-d4s", "--latency"]);
    expect(command.slice(-4)).toEqual(["https://localhost:80/a", "--", "5", "2"]);
  });
});

const H2LOAD = `finished in 1.00s, 18499.00 req/s, 1.20MB/s
requests: 18499 total, 18579 started, 18499 done, 18499 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 18499 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.20MB (1258291) total, 300KB (307200) headers (space savings 90.00%), 800KB (819200) data
`;

describe("h2load", () => {
  test("its figures are read; of latency it has no percentile", () => {
    expect(readH2load(H2LOAD)).toEqual({ done: 18_499, rate: 18_499 });
  });

  test.each([
    ["0 failed", "1 failed"],
    ["0 errored", "2 errored"],
    ["0 timeout", "1 timeout"],
    ["0 3xx", "1 3xx"],
    ["0 4xx", "1 4xx"],
    ["0 5xx", "1 5xx"],
  ])("%s becomes %s: the round does not count", (good, bad) => {
    expect(() => readH2load(H2LOAD.replace(good, bad))).toThrow(Trouble);
  });

  test("no figures, or none done: the round does not count", () => {
    expect(() => readH2load("")).toThrow(Trouble);
    expect(() => readH2load(H2LOAD.replace("18499 done, 18499 succeeded", "0 done, 0 succeeded"))).toThrow(Trouble);
  });
});

const AB = `Concurrency Level:      16
Time taken for tests:   2.000 seconds
Complete requests:      2088
Failed requests:        0
Total transferred:      2500000 bytes
Requests per second:    1044.00 [#/sec] (mean)

Percentage of the requests served within a certain time (ms)
  50%     14
  99%     19
 100%     30 (longest request)
`;

describe("ab", () => {
  test("its figures are read", () => {
    expect(readAb(AB)).toEqual({ done: 2088, rate: 1044, p50Ms: 14, p99Ms: 19 });
  });

  test.each([
    AB.replace("Failed requests:        0", "Failed requests:        3"),
    AB.replace("Total", "Non-2xx responses:      16\nTotal"),
    AB.replace("2088", "0"),
    "",
  ])("failures, refusals, nothing done: the round does not count", (output) => {
    expect(() => readAb(output)).toThrow(Trouble);
  });
});

describe("the open-loop generator", () => {
  const report: PacedReport = { done: 2000, seconds: 2, p50Ms: 0.2, p99Ms: 1.1, lateP99Ms: 0.3, problems: [], unanswered: 0 };

  test("its report is read", () => {
    expect(readPaced(JSON.stringify(report))).toEqual({ done: 2000, rate: 1000, p50Ms: 0.2, p99Ms: 1.1 });
  });

  test.each<Partial<PacedReport>>([{ problems: ["ECONNRESET"] }, { unanswered: 1 }, { lateP99Ms: 5.1 }])(
    "%o: the round does not count",
    (change) => {
      expect(() => readPaced(JSON.stringify({ ...report, ...change }))).toThrow(Trouble);
    },
  );
});
