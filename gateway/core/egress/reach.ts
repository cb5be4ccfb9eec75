/** The addresses at which an allowed host may be reached. */
import { formatAddress } from "./address.ts";
import { type CheckedAddress, decideAddresses, type EgressAllow } from "./decide.ts";
import type { Host } from "./name.ts";
import type { EgressSnapshot } from "./ports.ts";
import { type Refusal, unresolved } from "./refusal.ts";

/** An address that stands for a host, not looked at yet. */
export interface Answer {
  readonly address: string;
  readonly port: number;
}

/** Those that it has without anybody being asked: an address is itself, and a name may have addresses of its own. Undefined: it is looked up. */
export function ownAddresses(
  host: Host,
  port: number,
  { staticHosts }: Pick<EgressSnapshot["tables"], "staticHosts">,
): readonly Answer[] | undefined {
  if (host.kind === "address") return [{ address: formatAddress(host.address), port }];
  return staticHosts.get(host.text)?.map(({ address, port: own }) => ({ address, port: own ?? port }));
}

/** Every answer is looked at: all of them, or why none may be dialled. */
export function checkedAddresses(
  { openings, rule, policy }: EgressAllow,
  host: Host,
  answers: readonly Answer[],
): readonly CheckedAddress[] | Refusal {
  const checked = decideAddresses(openings, host, answers);
  if (checked.kind !== "deny") return checked.addresses;
  if (checked.code === "no_address") return unresolved(host.text, "it has no address");
  return { error: "denied", code: checked.code, rule: rule ?? policy, reason: checked.reason };
}
