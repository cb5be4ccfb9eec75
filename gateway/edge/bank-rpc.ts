/** The way to the banks of global quotas: one Durable Object per counter and key shard, asked once for all that goes to it. */
import { bankName, type DueAsk, type LeaseAnswer, type LeaseAsk, type LeasedLimit } from "../core/index.ts";

/** What `QuotaBank` offers. Whoever calls says what the limits are, so only Workers of the site may, out of their verified snapshot. */
export interface BankRpc {
  ask(holder: string, groups: readonly AskGroup[]): Promise<readonly LeaseAnswer[]>;
}

export interface AskGroup {
  readonly limit: LeasedLimit;
  readonly asks: readonly LeaseAsk[];
}

/**
 * Carries asks to the banks that keep their keys, all banks at once.
 *
 * @returns the answers that came; asks of a bank that failed have none
 * @throws what the banks threw, if all of them did
 */
export async function askBanks(
  namespace: DurableObjectNamespace,
  holder: string,
  asks: readonly DueAsk[],
): Promise<readonly LeaseAnswer[]> {
  const calls = [...Map.groupBy(asks, ({ limit, key }) => bankName(limit.counterId, key))].map(([name, own]) => {
    // What the class offers over RPC is this interface; the binding itself cannot say so.
    const bank = namespace.get(namespace.idFromName(name)) as unknown as BankRpc;
    return bank.ask(holder, groupsOf(own));
  });
  const settled = await Promise.allSettled(calls);
  const answers = settled.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
  const failed = settled.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined && answers.length === 0) throw failed.reason;
  return answers;
}

/** Keys of one counter may have limits of their own. */
function groupsOf(asks: readonly DueAsk[]): readonly AskGroup[] {
  return [...Map.groupBy(asks, ({ limit }) => limit)].map(([limit, own]) => ({
    limit: limit.leasing.source,
    asks: own.map(({ limit: _limit, ...ask }) => ask),
  }));
}
