/** What holders and banks tell one another, as plain data: a batch of asks, and an answer to each. */

import { fail, type Issue, ok, type Result } from "../result.ts";
import { Fingerprint } from "./fingerprint.ts";
import type { DueAsk } from "./lease-holding.ts";
import { MAX_AMOUNT } from "./limit.ts";

/** Most asks in one call to a bank. */
export const MAX_BATCH_ASKS = 256;
/** Longest batch, or answer to one, in bytes. */
export const MAX_BATCH_BYTES = 512 * 1024;
/** Ends of leases told with one ask. */
export const MAX_ENDED_LEASES = 8;
/** Eight parts of a key, each at most a SHA-256 in hexadecimal with its length and label. */
export const MAX_LEASE_KEY_CHARS = 1024;
/** Names of holders and asks. */
export const MAX_LEASE_ID_CHARS = 128;
/** A limit's keys are spread over this many banks. */
export const BANK_SHARDS = 16;

/** One holder wants units of one key. Asked again under the same id, it gets the same grant. */
export interface LeaseAsk {
  /** Unique among all asks of all holders. */
  readonly id: string;
  readonly key: string;
  /** Less is of no use; 0: whatever there is. */
  readonly need: number;
  /** More than this would lie about. */
  readonly wanted: number;
  /** Used beyond what leases had, and charged whether there is room or not (bytes that were guessed too low). */
  readonly debt: number;
  /** Leases of this key that are not spent from any more. */
  readonly ended: readonly EndedLease[];
}

export interface EndedLease {
  /** The ask that it was granted to. */
  readonly id: string;
  readonly unused: number;
}

export interface LeaseAnswer {
  readonly id: string;
  /** 0: there is no room for what is needed. */
  readonly granted: number;
  /** How long it may be spent, counted from when it was asked for. */
  readonly forMs: number;
  /** Refused: until `need` fits if nobody else takes it. */
  readonly retryMs: number;
  /** Until more than now is left; 0: nothing is used. */
  readonly moreMs: number;
  /** The bank cannot count this key: why. */
  readonly problem?: string;
}

/** An ask as it travels between gateways: the limit by its name, for its numbers are not the asker's to say. */
export interface NamedAsk extends LeaseAsk {
  /** `<namespace>/<name>`. */
  readonly quota: string;
  readonly limit: string;
}

export interface AskBatch {
  readonly holder: string;
  readonly asks: readonly NamedAsk[];
}

// Open on purpose: every holder has to find the same bank.
const shards = new Fingerprint(Int32Array.of(0x74696465, 0x67617465, 0x62616e6b, 0x73686172));

/** Which bank of a limit keeps a key: 0 to BANK_SHARDS - 1. */
export function bankShard(key: string): number {
  return ((shards.of(key)[0] as number) >>> 0) % BANK_SHARDS;
}

/** Name of the bank that keeps a counter. */
export function bankName(counterId: string, key: string): string {
  return `${counterId}/${bankShard(key)}`;
}

/** Asks as they travel. */
export function askBatch(holder: string, asks: readonly DueAsk[]): AskBatch {
  return {
    holder,
    asks: asks.map(({ limit, ...ask }) => {
      const hash = limit.rule.lastIndexOf("#");
      return { ...ask, quota: limit.rule.slice(0, hash), limit: limit.rule.slice(hash + 1) };
    }),
  };
}

/** `unknown` → a batch, every problem at once. */
export function decodeAskBatch(value: unknown): Result<AskBatch> {
  const issues: Issue[] = [];
  const batch = mapOf(value);
  const holder = text(batch["holder"], MAX_LEASE_ID_CHARS, "holder", issues);
  const list = listOf(batch["asks"], MAX_BATCH_ASKS, "asks", issues);
  const asks = list.map((ask, i) => decodeAsk(mapOf(ask), `asks[${i}]`, issues));
  return issues.length > 0 ? fail(issues) : ok({ holder, asks });
}

function decodeAsk(ask: Unknowns, path: string, issues: Issue[]): NamedAsk {
  const ended = listOf(ask["ended"], MAX_ENDED_LEASES, `${path}.ended`, issues).map((one, i) => ({
    id: text(mapOf(one)["id"], MAX_LEASE_ID_CHARS, `${path}.ended[${i}].id`, issues),
    unused: units(mapOf(one)["unused"], `${path}.ended[${i}].unused`, issues),
  }));
  return {
    id: text(ask["id"], MAX_LEASE_ID_CHARS, `${path}.id`, issues),
    quota: text(ask["quota"], MAX_LEASE_KEY_CHARS, `${path}.quota`, issues),
    limit: text(ask["limit"], MAX_LEASE_ID_CHARS, `${path}.limit`, issues),
    key: text(ask["key"], MAX_LEASE_KEY_CHARS, `${path}.key`, issues, true),
    need: units(ask["need"], `${path}.need`, issues),
    wanted: units(ask["wanted"], `${path}.wanted`, issues),
    debt: units(ask["debt"], `${path}.debt`, issues),
    ended,
  };
}

/** `unknown` → answers, every problem at once. */
export function decodeLeaseAnswers(value: unknown): Result<readonly LeaseAnswer[]> {
  const issues: Issue[] = [];
  const answers = listOf(mapOf(value)["answers"], MAX_BATCH_ASKS, "answers", issues).map((one, i): LeaseAnswer => {
    const answer = mapOf(one);
    const path = `answers[${i}]`;
    const problem = answer["problem"];
    return {
      id: text(answer["id"], MAX_LEASE_ID_CHARS, `${path}.id`, issues),
      granted: units(answer["granted"], `${path}.granted`, issues),
      forMs: units(answer["forMs"], `${path}.forMs`, issues),
      retryMs: units(answer["retryMs"], `${path}.retryMs`, issues),
      moreMs: units(answer["moreMs"], `${path}.moreMs`, issues),
      ...(problem === undefined ? {} : { problem: text(problem, MAX_LEASE_KEY_CHARS, `${path}.problem`, issues) }),
    };
  });
  return issues.length > 0 ? fail(issues) : ok(answers);
}

interface Unknowns {
  readonly [name: string]: unknown;
}

function mapOf(value: unknown): Unknowns {
  return typeof value === "object" && value !== null ? (value as Unknowns) : {};
}

function listOf(value: unknown, max: number, path: string, issues: Issue[]): readonly unknown[] {
  if (Array.isArray(value) && value.length <= max) return value;
  issues.push({ path, problem: `has to be a list of at most ${max}` });
  return [];
}

function text(value: unknown, max: number, path: string, issues: Issue[], mayBeEmpty = false): string {
  if (typeof value === "string" && value.length <= max && (mayBeEmpty || value !== "")) return value;
  issues.push({ path, problem: `has to be text of at most ${max} characters` });
  return "";
}

function units(value: unknown, path: string, issues: Issue[]): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_AMOUNT) return value;
  issues.push({ path, problem: `has to be a whole number from 0 to ${MAX_AMOUNT}` });
  return 0;
}
