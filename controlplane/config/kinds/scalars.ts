/** The small words of every kind, each with a message that says what would be right: durations, sizes, percentages, ports, regexes. */
import { RE2JS } from "re2js";
import { z } from "zod";

/** Longest delay a runtime timer keeps (2^31 - 1 ms, 24.8 days); anything above would fire at once. */
export const MAX_DURATION_MS = 2_147_483_647;
/** Longest regex, characters (as Istio). */
export const MAX_REGEX_LENGTH = 1024;

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const DURATION = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+$/;

/** Milliseconds of `10s`, `1h30m`, `0.5s`, `1d`; undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)) {
    ms += Number(amount) * (UNIT_MS[unit ?? ""] ?? 0);
  }
  return ms;
}

export interface DurationRule {
  /** Smallest value, ms. Default 1. 0 admits `0s`. */
  readonly min?: number;
  /** Largest value, ms. */
  readonly max?: number;
}

/** A duration as text; parsed to **milliseconds**. */
export function duration({ min = 1, max = MAX_DURATION_MS }: DurationRule = {}) {
  return z
    .string()
    .meta({ description: "Duration such as 10s, 1h30m, 0.5s or 1d", format: "go-duration" })
    .transform((text, ctx): number => {
      const ms = parseDuration(text);
      if (ms === undefined) {
        ctx.addIssue(`"${text}" is not a duration; write a number and a unit (ms, s, m, h, d), such as 10s, 1h30m or 0.5s`);
        return z.NEVER;
      }
      if (ms < min || ms > max) {
        ctx.addIssue(`${text} is out of range; it must be between ${formatMs(min)} and ${formatMs(max)}`);
        return z.NEVER;
      }
      return ms;
    });
}

function formatMs(ms: number): string {
  for (const unit of ["d", "h", "m", "s"]) {
    const size = UNIT_MS[unit] ?? 1;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

const SIZE_UNIT: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** Bytes of `64KiB`, `1MB` or `512`; undefined when it is no size. */
function parseSize(text: string): number | undefined {
  const found = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text);
  const unit = found?.[2] === undefined ? undefined : SIZE_UNIT[found[2]];
  if (!found || unit === undefined) return undefined;
  const bytes = Number(found[1]) * unit;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** A size as `64KiB` or a plain number of bytes; parsed to **bytes**. */
export function size({ min = 0, max = Number.MAX_SAFE_INTEGER }: { readonly min?: number; readonly max?: number } = {}) {
  return z
    .union([z.int(), z.string()])
    .meta({ description: "Size such as 64KiB or 1MiB, or a number of bytes", format: "byte-size" })
    .transform((input, ctx): number => {
      const bytes = parseSize(String(input));
      if (bytes === undefined) {
        ctx.addIssue(`"${input}" is not a size; write a number and a unit (B, KiB, MiB, GiB, KB, MB, GB), such as 64KiB`);
        return z.NEVER;
      }
      if (bytes < min || bytes > max) {
        ctx.addIssue(`${input} is out of range; it must be between ${min} and ${max} bytes`);
        return z.NEVER;
      }
      return bytes;
    });
}

/** `25%`; parsed to the number **25**. */
export function percentText({ min = 0, max = 100 }: { readonly min?: number; readonly max?: number } = {}) {
  return z
    .string()
    .meta({ description: "Percentage such as 5%", format: "percentage", pattern: "^[0-9]+(\\.[0-9]+)?%$" })
    .transform((text, ctx): number => {
      const value = /^\d+(?:\.\d+)?%$/.test(text) ? Number(text.slice(0, -1)) : Number.NaN;
      if (!(value >= min && value <= max)) {
        ctx.addIssue(`"${text}" is not a percentage between ${min}% and ${max}%; write for example 25%`);
        return z.NEVER;
      }
      return value;
    });
}

/** TCP port, 1 to 65535. */
export const portNumber = z.int().min(1).max(65535).meta({ description: "Port, 1 to 65535" });
/** 32-bit unsigned. */
export const uint32 = z.int().min(0).max(4_294_967_295);
/** Share in percent, 0 to 100. */
export const percentNumber = z.number().min(0).max(100);
/** HTTP status of a whole answer. */
export const httpStatus = z.int().min(200).max(599);

/** Why RE2 refuses this, or undefined when it is a good regex of permitted length. */
function regexProblem(pattern: string): string | undefined {
  if (pattern === "") return "the regex is empty; it would match only the empty string. Leave the match out, or write a pattern";
  if (pattern.length > MAX_REGEX_LENGTH)
    return `the regex has ${pattern.length} characters; at most ${MAX_REGEX_LENGTH} are allowed`;
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.replace(/^error parsing regexp: /, "") : String(cause);
    return `"${pattern}" is not an RE2 regex: ${reason}. Look-around and back-references do not exist in RE2`;
  }
}

/** An RE2 regex, compared with the whole string. */
export const regex = z
  .string()
  .meta({ description: "RE2 regex, whole string, at most 1024 characters" })
  .superRefine((pattern, ctx) => {
    const problem = regexProblem(pattern);
    if (problem) ctx.addIssue(problem);
  });

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Whether this is a token, the shape of methods and field names (RFC 9110 5.6.2). */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** A field name (RFC 9110 5.1), parsed to lower case. */
export const headerName = z
  .string()
  .meta({ description: "Header name" })
  .transform((name, ctx): string => {
    if (!isToken(name)) {
      ctx.addIssue(`"${name}" is not a header name; letters, digits and !#$%&'*+-.^_\`|~ are allowed (RFC 9110 5.1)`);
      return z.NEVER;
    }
    return name.toLowerCase();
  });

/** A field value that cannot smuggle another line (RFC 9110 5.5). */
export const headerValue = z.string().superRefine((value, ctx) => {
  if (/[\r\n\0]/.test(value)) ctx.addIssue("a header value must not contain CR, LF or NUL (RFC 9110 5.5)");
});

const LABEL_NAME = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** Whether this is an RFC 1123 label: what namespaces and many names must be. */
export function isDnsLabel(text: string): boolean {
  return LABEL_NAME.test(text);
}

/** An object's or namespace's name in a reference. */
export const objectName = z.string().superRefine((name, ctx) => {
  if (name.length > 253 || !name.split(".").every(isDnsLabel)) {
    ctx.addIssue(
      `"${name}" is not an object name; use lower case letters, digits, "-" and "." (RFC 1123), at most 253 characters`,
    );
  }
});

/** Labels as Kubernetes writes them. */
export const labels = z.record(z.string().min(1), z.string());
