/** Where calendar windows begin and end in a time zone, daylight saving included. Worked out once per window, never per request. */

export type CalendarUnit = "minute" | "hour" | "day" | "week" | "month" | "year";

const UNITS: readonly CalendarUnit[] = ["minute", "hour", "day", "week", "month", "year"];
const DAY_MS = 86_400_000;

/**
 * The windows of one unit in one zone; `seek` moves it to the window around a moment.
 *
 * Days, weeks (from Monday, ISO 8601), months and years begin with the first moment of their first local day, so a day may
 * last 23 or 25 hours. Minutes and hours are cut from local time as it stands: the hour that is repeated in autumn is two windows.
 */
export class CalendarWindows {
  /** Differs between units and zones; never 0. */
  readonly tag: number;
  startMs = 0;
  endMs = 0;
  readonly #unit: CalendarUnit;
  readonly #zone: TimeZone;

  constructor(unit: CalendarUnit, zone: TimeZone) {
    this.#unit = unit;
    this.#zone = zone;
    this.tag = UNITS.indexOf(unit) + 1 + 8 * textTag(zone.name);
  }

  seek(unixMs: number): void {
    if (unixMs >= this.startMs && unixMs < this.endMs) return;
    if (this.#unit === "minute" || this.#unit === "hour") this.#seekClock(unixMs, this.#unit === "minute" ? 60_000 : 3_600_000);
    else this.#seekDate(unixMs, this.#unit);
  }

  #seekClock(unixMs: number, lengthMs: number): void {
    const offset = this.#zone.offsetMs(unixMs);
    this.startMs = Math.floor((unixMs + offset) / lengthMs) * lengthMs - offset;
    this.endMs = this.startMs + lengthMs;
  }

  #seekDate(unixMs: number, unit: "day" | "week" | "month" | "year"): void {
    const local = new Date(unixMs + this.#zone.offsetMs(unixMs));
    const [year, month, day] = [local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate()];
    const monday = day - ((local.getUTCDay() + 6) % 7);
    const [first, next] = {
      day: [Date.UTC(year, month, day), Date.UTC(year, month, day + 1)] as const,
      week: [Date.UTC(year, month, monday), Date.UTC(year, month, monday + 7)] as const,
      month: [Date.UTC(year, month, 1), Date.UTC(year, month + 1, 1)] as const,
      year: [Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1)] as const,
    }[unit];
    this.startMs = this.#zone.firstMoment(first);
    this.endMs = this.#zone.firstMoment(next);
  }
}

/** An IANA time zone as the runtime's tables have it. The constructor throws RangeError on a name they lack. */
export class TimeZone {
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;

  constructor(name: string) {
    this.name = name;
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  }

  /** Local time minus UTC at a moment. */
  offsetMs(unixMs: number): number {
    const second = Math.floor(unixMs / 1000) * 1000;
    const at: { [type: string]: number } = {};
    for (const part of this.#format.formatToParts(second)) at[part.type] = Number(part.value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second: s = 0 } = at;
    return Date.UTC(year, month - 1, day, hour, minute, s) - second;
  }

  /** The first moment whose local time is `localMs` (local time read as if it were UTC) or, where clocks jump over that, later. */
  firstMoment(localMs: number): number {
    const before = this.offsetMs(localMs - DAY_MS);
    const after = this.offsetMs(localMs + DAY_MS);
    const early = localMs - Math.max(before, after);
    if (this.offsetMs(early) + early === localMs) return early;
    const late = localMs - Math.min(before, after);
    if (this.offsetMs(late) + late === localMs) return late;
    let [no, yes] = [early, late];
    while (yes - no > 1) {
      const middle = Math.floor((no + yes) / 2);
      if (middle + this.offsetMs(middle) >= localMs) yes = middle;
      else no = middle;
    }
    return yes;
  }
}

/** 32 bits of a short name (FNV-1a); only told apart from a handful of others. */
function textTag(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
