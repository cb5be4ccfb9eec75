/**
 * Quotas: what counts against which limit, and what is left.
 *
 * Invariant: a limit's stated bound holds for every arrival order and every clock that does not run backwards; a refused
 * request is charged nothing. The arithmetic is whole numbers over a stretch of a Float64Array and knows neither threads nor
 * stores: a bank (MapBank here, shared memory on Node) finds the stretch and keeps others off it meanwhile.
 * A limit of scope `global` is spent out of leases: lease-bank.ts grants them (one bank, wherever it is), lease-holder.ts spends them (every thread and
 * isolate), and what they prove together stands in ir/lease-terms.ts.
 * It never reads a clock, never evicts a counter that still counts, and never decides what a refusal looks like beyond its fields and body.
 */
export { CalendarWindows, TimeZone } from "./calendar-window.ts";
export { ClosableBank } from "./closable-bank.ts";
export { concurrentForget, MAX_LANES } from "./concurrent.ts";
export { idleAt, isIdle, type Moment, STATE_SIZE } from "./counter.ts";
export { Charge, decide, type Places, settleOne, Tally } from "./decide.ts";
export { Fingerprint } from "./fingerprint.ts";
export {
  answerAsk,
  bankKeyLimit,
  type Grant,
  isLeased,
  type LeaseCounter,
  type LeasedCompiledLimit,
  leaseCounterIdleMs,
  newLeaseCounter,
} from "./lease-bank.ts";
export { type BreakerState, LeaseBreaker } from "./lease-breaker.ts";
export { type HolderUsage, LeaseHolder, MAX_HELD_KEYS } from "./lease-holder.ts";
export type { DueAsk } from "./lease-holding.ts";
export {
  type AskBatch,
  askBatch,
  bankName,
  decodeAskBatch,
  decodeLeaseAnswers,
  type LeaseAnswer,
  type LeaseAsk,
  MAX_BATCH_ASKS,
  MAX_BATCH_BYTES,
  type NamedAsk,
} from "./lease-messages.ts";
export { DEFAULT_BANK_DEADLINE_MS, LeasedBank, type LeasedBankOptions, type LeaseLink } from "./leased-bank.ts";
export { CompiledLimit, compileLeasedLimit, type LeasedLimit, type LimitKind } from "./limit.ts";
export { DEFAULT_MAX_COUNTERS, MapBank, type MapBankOptions } from "./map-bank.ts";
export {
  type CompiledQuota,
  type CompileQuotaOptions,
  compileQuota,
  type LimitSet,
  type QuotaMeter,
  type QuotaOutcome,
} from "./plan.ts";
export { rollingRepair } from "./rolling.ts";
