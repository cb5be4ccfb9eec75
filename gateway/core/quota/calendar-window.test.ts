import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CalendarUnit, CalendarWindows, TimeZone } from "./calendar-window.ts";

function windowAt(unit: CalendarUnit, zone: string, time: string): [string, string] {
  const windows = new CalendarWindows(unit, new TimeZone(zone));
  windows.seek(Date.parse(time));
  return [new Date(windows.startMs).toISOString(), new Date(windows.endMs).toISOString()];
}

describe("calendar windows", () => {
  it.each([
    // unit, zone, moment, start, end
    ["day", "UTC", "2026-11-23T12:00:00Z", "2026-11-23T00:00:00.000Z", "2026-11-24T00:00:00.000Z"],
    // Zurich: 23 hours on the day summer time begins, 25 on the day it ends.
    ["day", "Europe/Zurich", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"],
    ["day", "Europe/Zurich", "2026-10-25T00:30:00Z", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"],
    ["day", "Europe/Zurich", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"],
    // Havana: clocks go from 00:00 to 01:00, so the day begins at one o'clock; and back from 01:00 to 00:00, so midnight comes twice.
    ["day", "America/Havana", "2026-03-08T12:00:00Z", "2026-03-08T05:00:00.000Z", "2026-03-09T04:00:00.000Z"],
    ["day", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00.000Z", "2026-11-02T05:00:00.000Z"],
    // Apia left out 30 December 2011: the 29th is followed by the 31st.
    ["day", "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00.000Z", "2011-12-30T10:00:00.000Z"],
    ["week", "Europe/Zurich", "2026-11-22T22:59:00Z", "2026-11-15T23:00:00.000Z", "2026-11-22T23:00:00.000Z"],
    ["month", "Asia/Tokyo", "2026-02-28T15:00:00Z", "2026-02-28T15:00:00.000Z", "2026-03-31T15:00:00.000Z"],
    ["year", "America/New_York", "2026-01-01T04:59:59Z", "2025-01-01T05:00:00.000Z", "2026-01-01T05:00:00.000Z"],
    ["hour", "Asia/Kolkata", "2026-11-23T12:10:00Z", "2026-11-23T11:30:00.000Z", "2026-11-23T12:30:00.000Z"],
    // The hour that Zurich repeats is two windows.
    ["hour", "Europe/Zurich", "2026-10-25T00:59:00Z", "2026-10-25T00:00:00.000Z", "2026-10-25T01:00:00.000Z"],
    ["hour", "Europe/Zurich", "2026-10-25T01:01:00Z", "2026-10-25T01:00:00.000Z", "2026-10-25T02:00:00.000Z"],
    ["minute", "Asia/Kathmandu", "2026-11-23T12:10:59.999Z", "2026-11-23T12:10:00.000Z", "2026-11-23T12:11:00.000Z"],
  ] as const)("%s in %s around %s", (unit, zone, time, start, end) => {
    expect(windowAt(unit, zone, time)).toEqual([start, end]);
  });

  it("follow one another without gap or overlap, daylight saving or not", () => {
    const zones = [
      "Europe/Zurich",
      "America/Havana",
      "Australia/Lord_Howe",
      "Pacific/Apia",
      "Asia/Kathmandu",
      "America/St_Johns",
    ];
    const units = ["day", "week", "month", "year"] as const;
    const moments = fc.integer({ min: Date.UTC(2009, 0, 1), max: Date.UTC(2030, 0, 1) });
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.constantFrom(...units), moments, (name, unit, moment) => {
        const zone = new TimeZone(name);
        const windows = new CalendarWindows(unit, zone);
        windows.seek(moment);
        expect(windows.startMs).toBeLessThanOrEqual(moment);
        expect(windows.endMs).toBeGreaterThan(moment);
        const { startMs, endMs } = windows;
        windows.seek(endMs);
        expect(windows.startMs).toBe(endMs);
        windows.seek(startMs - 1);
        expect(windows.endMs).toBe(startMs);
      }),
      { numRuns: 100 },
    );
  });

  it("tell zones and units apart", () => {
    const tags = ["UTC", "Europe/Zurich"].flatMap((zone) =>
      (["minute", "hour", "day", "week", "month", "year"] as const).map(
        (unit) => new CalendarWindows(unit, new TimeZone(zone)).tag,
      ),
    );
    expect(new Set(tags).size).toBe(12);
    expect(tags.every((tag) => Number.isSafeInteger(tag) && tag > 0)).toBe(true);
  });

  it("refuse a zone that does not exist", () => {
    expect(() => new TimeZone("Europe/Atlantis")).toThrow(RangeError);
  });
});
