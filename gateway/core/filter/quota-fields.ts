import type { FieldList, ReadonlyFieldList } from "../http/message.ts";
import type { QuotaAnswer } from "../ports.ts";
import type { Charge } from "../quota/decide.ts";
import { limitItem, partitionParameter, pushLegacy } from "../quota/headers.ts";
import type { CompiledLimit } from "../quota/limit.ts";
import { isAsked, type Job } from "./quota-job.ts";

/** The fields that tell an admitted client what is left. */
export function quotaFields(job: Job, answer: QuotaAnswer): ReadonlyFieldList {
  let fields: FieldList | undefined;
  let tightest = -1;
  let at = 0;
  for (let i = 0; i < job.count; i++) {
    const use = job.use(i);
    if (!isAsked(use)) continue;
    const { limits, policies } = use.set;
    if (use.quota.draftHeaders && limits.length > 0) {
      const partition = partitionParameter(use.key);
      let items = "";
      for (let l = 0; l < limits.length; l++) {
        const item = limitItem(limits[l] as CompiledLimit, answer.remaining[at + l] ?? 0, answer.resetMs[at + l] ?? 0, partition);
        items = l === 0 ? item : `${items}, ${item}`;
      }
      fields ??= [];
      fields.push("ratelimit-policy", policies, "ratelimit", items);
    }
    if (use.quota.legacyHeaders) {
      for (let l = 0; l < limits.length; l++) if (isTighter(answer, at + l, tightest)) tightest = at + l;
    }
    at += limits.length;
  }
  if (tightest !== -1) {
    fields ??= [];
    const { limit } = job.charges[tightest] as Charge;
    pushLegacy(fields, limit, answer.remaining[tightest] ?? 0, answer.resetMs[tightest] ?? 0);
  }
  return fields ?? NO_FIELDS;
}

/** Less is left of it; of two alike, more comes back later. */
function isTighter(answer: QuotaAnswer, a: number, b: number): boolean {
  if (b === -1) return true;
  const difference = (answer.remaining[a] ?? 0) - (answer.remaining[b] ?? 0);
  return difference < 0 || (difference === 0 && (answer.resetMs[a] ?? 0) > (answer.resetMs[b] ?? 0));
}

const NO_FIELDS: ReadonlyFieldList = [];
