/** Parts that native kinds share: the group, and limits as Quota and EgressPolicy write them. */
import { z } from "zod";
import { duration, isDnsLabel, parseDuration, size } from "../scalars.ts";

export const NATIVE_GROUP = "mesh.tidegate.dev";
export const NATIVE_VERSIONS = ["v1"] as const;

/** Longest name of a cluster, characters: it is the label of a host name. */
export const MAX_CLUSTER_NAME_LENGTH = 63;

/** Name of a cluster, as its own MeshConfig and the EdgeSites in front of it call it. */
export const clusterName = z.string().superRefine((name, ctx) => {
  if (!isDnsLabel(name)) {
    ctx.addIssue(
      `"${name}" is not a cluster's name; use lower case letters, digits and "-" (RFC 1123), at most ${MAX_CLUSTER_NAME_LENGTH} characters`,
    );
  }
});

const DAY_MS = 86_400_000;
/** Longest window, ms: a leap year. */
export const MAX_WINDOW_MS = 366 * DAY_MS;

export type CalendarUnit = "minute" | "hour" | "day" | "week" | "month" | "year";

/** Longest possible span of each calendar unit, ms (a month of 31 days, a leap year). */
const CALENDAR_MS: { readonly [unit in CalendarUnit]: number } = {
  minute: 60_000,
  hour: 3_600_000,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 31 * DAY_MS,
  year: MAX_WINDOW_MS,
};
const CALENDAR_UNITS: readonly CalendarUnit[] = ["minute", "hour", "day", "week", "month", "year"];

/** The calendar unit of `1d`, `7d`, `month`; undefined when windows of that length do not follow the calendar. */
function calendarUnit(per: string): CalendarUnit | undefined {
  const word = CALENDAR_UNITS.find((unit) => unit === per);
  if (word) return word;
  const ms = parseDuration(per);
  return CALENDAR_UNITS.find((unit) => unit !== "month" && unit !== "year" && CALENDAR_MS[unit] === ms);
}

/** Whether this is an IANA time zone that the runtime knows. */
function isTimeZone(zone: string): boolean {
  // Offsets such as +02:00 have no daylight saving and no name; they are not IANA zones.
  if (/^[+-]/.test(zone)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** What limits count. */
export type QuotaUnit = "requests" | "bytes" | "concurrent";

/** One limit. `per` is in **milliseconds**; 0 for `concurrent`. */
export interface Limit {
  readonly name: string;
  readonly unit: QuotaUnit;
  readonly amount: number;
  readonly per: number;
  readonly window: "rolling" | "smooth" | "calendar";
  /** Smooth only. */
  readonly burst?: number;
  /** Calendar only: IANA zone. */
  readonly timeZone?: string;
  /** Calendar only. */
  readonly calendarUnit?: CalendarUnit;
}

const limitInput = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, { error: "a limit's name has 1 to 63 letters, digits, _, . or -" })
    .optional()
    .meta({ description: "Shown in headers, refusals and logs; default limit-1, limit-2, …" }),
  requests: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional().meta({ description: "For unit requests" }),
  bytes: size({ min: 1 }).optional().meta({ description: "For unit bytes, such as 10MiB" }),
  concurrent: z.int().min(1).max(1_000_000).optional().meta({ description: "For unit concurrent: requests in flight" }),
  per: z.string().optional().meta({ description: "Window, such as 1s or 1d; calendar windows also month and year" }),
  window: z.enum(["rolling", "smooth", "calendar"]).default("rolling"),
  burst: z
    .int()
    .min(1)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .meta({ description: "Smooth windows: bucket size; default: requests" }),
  timeZone: z
    .string()
    .optional()
    .meta({ description: "Calendar windows: IANA zone, default UTC" })
    .superRefine((zone, ctx) => {
      if (zone !== undefined && !isTimeZone(zone))
        ctx.addIssue(`"${zone}" is not an IANA time zone; write for example Europe/Zurich or UTC`);
    }),
});
type LimitInput = z.output<typeof limitInput>;

const UNITS: readonly QuotaUnit[] = ["requests", "bytes", "concurrent"];
const windowLength = duration({ min: 100, max: MAX_WINDOW_MS });

function readPer(input: LimitInput, complain: (field: string, message: string) => void): Pick<Limit, "per" | "calendarUnit"> {
  if (input.per === undefined) {
    complain("per", "the window is missing; write for example per: 1s");
    return { per: 0 };
  }
  if (input.window === "calendar") {
    const unit = calendarUnit(input.per);
    if (unit) return { per: CALENDAR_MS[unit], calendarUnit: unit };
    complain("per", `"${input.per}" is not a calendar window; write 1m, 1h, 1d, 7d (weeks from Monday), month or year`);
    return { per: 0 };
  }
  if (CALENDAR_UNITS.some((unit) => unit === input.per)) {
    complain("per", `"${input.per}" is a calendar window; add window: calendar, or write a duration such as 1d`);
    return { per: 0 };
  }
  const parsed = windowLength.safeParse(input.per);
  if (parsed.success) return { per: parsed.data };
  complain("per", parsed.error.issues[0]?.message ?? "is not a duration");
  return { per: 0 };
}

/** A limit whose name may still be missing. */
type Unnamed = Omit<Limit, "name"> & { readonly name: string | undefined };

function readLimit(input: LimitInput, complain: (field: string, message: string) => void): Unnamed {
  const given = UNITS.filter((unit) => input[unit] !== undefined);
  const unit = given[0] ?? "requests";
  if (given.length !== 1) {
    complain(
      given[1] ?? "",
      given.length === 0
        ? "the limit has no amount; write requests, bytes or concurrent"
        : `${given.join(" and ")} exclude one another; keep one of them`,
    );
  }
  const base = { name: input.name, unit, amount: input[unit] ?? 0, window: input.window };
  if (unit === "concurrent") {
    for (const field of ["per", "burst", "timeZone"] as const) {
      if (input[field] !== undefined) complain(field, `${field} has no meaning for concurrent requests; remove it`);
    }
    return { ...base, per: 0 };
  }
  if (input.burst !== undefined && input.window !== "smooth")
    complain("burst", "burst belongs to window: smooth; remove it, or set the window");
  if (input.timeZone !== undefined && input.window !== "calendar") {
    complain("timeZone", "timeZone belongs to window: calendar; remove it, or set the window");
  }
  return {
    ...base,
    ...readPer(input, complain),
    ...(input.window === "smooth" ? { burst: input.burst ?? base.amount } : {}),
    ...(input.window === "calendar" ? { timeZone: input.timeZone ?? "UTC" } : {}),
  };
}

const limit = limitInput.transform(
  (input, ctx): Unnamed =>
    readLimit(input, (field, message) => {
      ctx.addIssue({ code: "custom", path: field === "" ? [] : [field], message });
    }),
);

/** A list of limits with every default filled in and names that differ. */
export const limits = z.array(limit).transform((unnamed, ctx): readonly Limit[] => {
  const names = new Map<string, number>();
  return unnamed.map((item, index) => {
    const name = item.name ?? `limit-${index + 1}`;
    const before = names.get(name);
    if (before !== undefined) {
      ctx.addIssue({
        code: "custom",
        path: [index, "name"],
        message: `the limit "${name}" is defined already at index ${before}; names must differ`,
      });
    }
    names.set(name, before ?? index);
    return { ...item, name };
  });
});
