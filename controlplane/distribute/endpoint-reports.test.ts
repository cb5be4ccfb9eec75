import { expect, test } from "vitest";
import { create, EndpointReportSchema } from "../../gateway/wire/proto/index.ts";
import { EndpointReports, MAX_KEPT_ENDPOINTS } from "./endpoint-reports.ts";

const id = (i: number) => ({ cluster: "c", address: `a${i}.test`, port: 80 });
const well = (i: number) => ({ id: id(i), state: "healthy", weight: 1, forMs: 0n });

test(`a gateway that reports without end fills MAX_KEPT_ENDPOINTS (${MAX_KEPT_ENDPOINTS}) places and no more; those it has go on being told`, () => {
  const reports = new EndpointReports();
  for (let from = 0; from <= MAX_KEPT_ENDPOINTS; from += 1_000) {
    const endpoints = Array.from({ length: 1_000 }, (_, i) => well(from + i));
    reports.take(create(EndpointReportSchema, { endpoints }), 0);
  }
  expect(reports.list()).toHaveLength(MAX_KEPT_ENDPOINTS);
  reports.take(create(EndpointReportSchema, { endpoints: [{ ...well(0), state: "ejected" }], gone: [id(1)] }), 0);
  expect(reports.list()).toHaveLength(MAX_KEPT_ENDPOINTS - 1);
  expect(reports.list()[0]).toMatchObject({ address: "a0.test", state: "ejected" });
  reports.take(create(EndpointReportSchema, { whole: true }), 0);
  expect(reports.list()).toEqual([]);
});

test("long texts are cut, and an endpoint without an id is nobody's", () => {
  const reports = new EndpointReports();
  const endpoints = [{ ...well(0), reason: "x".repeat(10_000) }, { state: "healthy" }];
  reports.take(create(EndpointReportSchema, { endpoints }), 0);
  expect(reports.list().map(({ reason }) => reason?.length)).toEqual([512]);
});
