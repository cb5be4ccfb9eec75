/** A request that another gateway has handed on, as the exchange of this one takes it over. */
import type { CompiledForward } from "./compile/tables.ts";
import type { ErrorCode } from "./error.ts";
import type { RequestRecord } from "./ports.ts";
import type { CompiledQuota } from "./quota/plan.ts";

/**
 * What another gateway has decided about a request before it came here: nothing of it is decided again. Its head is as that gateway sent it on,
 * without the passport.
 */
export type HandedOn = Taken | NotTaken;

interface Taken {
  readonly kind: "taken";
  readonly passport: RequestRecord["passport"];
  /** Where it goes. */
  readonly action: CompiledForward;
  /** That apply here and were not charged there. */
  readonly quotas: readonly CompiledQuota[];
}

interface NotTaken {
  readonly kind: "refused";
  readonly passport: RequestRecord["passport"];
  readonly code: ErrorCode;
  /** For logs and explain headers: whoever sent the request is told no more than `code`, for the edge passes that on to its client. */
  readonly reason: string;
}
