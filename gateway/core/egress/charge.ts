/** The limits of an egress rule, charged for one request or one tunnel. */
import type { QuotaFilter, QuotaVerdict } from "../filter/quota.ts";
import type { RequestHead } from "../http/message.ts";
import type { PeerInfo } from "../ports.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import type { EgressRequest } from "./decide.ts";

/** @param caller the proved identity that quotas count by, where the connection has none */
export function chargeQuotas(
  filter: QuotaFilter,
  quotas: readonly CompiledQuota[],
  { head, peer }: { readonly head: RequestHead; readonly peer: PeerInfo },
  target: EgressRequest,
  caller: string | undefined,
): QuotaVerdict | Promise<QuotaVerdict> {
  const { method, scheme, authority, fields } = head;
  const query = head.target.length > target.path.length ? head.target.slice(target.path.length + 1) : "";
  const view = { method, scheme, authority, path: target.path, query, fields, servicePort: target.port };
  const counted = caller === undefined || peer.principal !== undefined ? peer : { ...peer, principal: caller };
  return filter.charge(quotas, view, counted, declaredBytes(head));
}

function declaredBytes(head: RequestHead): number | undefined {
  if (head.body.kind === "stream") return undefined;
  return head.body.kind === "length" ? head.body.bytes : 0;
}
