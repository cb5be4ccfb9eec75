import type { CompiledMirror } from "../compile/tables.ts";
import type { RequestHead } from "../http/message.ts";
import type { Random } from "../ports.ts";
import type { MirrorSend } from "../step.ts";

/** Copies of this request that go out beside it. The copy is the request as the origin gets it, authority included. */
export function mirrorSends(
  mirrors: readonly CompiledMirror[],
  head: RequestHead,
  random: Random,
  nowMs: number,
): readonly MirrorSend[] {
  if (mirrors.length === 0) return NONE;
  const sends: MirrorSend[] = [];
  for (const { cluster, percent } of mirrors) {
    if (cluster.balancer === undefined || random() * 100 >= percent) continue;
    const target = cluster.balancer.next(random, nowMs, undefined);
    if (target !== undefined) sends.push({ target, head });
  }
  return sends;
}

const NONE: readonly MirrorSend[] = [];
