/** How requests leave a site, and copies of them whose responses nobody reads. */
import type { Established, MirrorSend, SendStep } from "../core/index.ts";
import type { ArmTimer } from "./isolate.ts";
import { sentInit } from "./sent-fields.ts";
import type { UpstreamCall } from "./upstream.ts";

export interface CallPorts {
  readonly arm: ArmTimer;
  /** Where an attempt or a mirror's copy goes, and how. */
  readonly call: (send: Pick<SendStep, "target" | "head" | "switchTo">, established: Established | undefined) => UpstreamCall;
}

/** A copy that nobody waits for gets no longer than the platform gives what is left behind after a response. */
const MIRROR_TIMEOUT_MS = 25_000;

/** Never rejects: nobody hears how a copy fared. @param body all of it; null: it has none */
export async function sendCopy(
  mirror: MirrorSend,
  established: Established | undefined,
  body: Uint8Array | null,
  ports: CallPorts,
): Promise<void> {
  const call = ports.call(mirror, established);
  if (call.kind === "refused") return;
  const { method, fields } = mirror.head;
  const attempt = new AbortController();
  const cancel = ports.arm(MIRROR_TIMEOUT_MS, () => attempt.abort());
  try {
    const headers = sentInit(fields);
    const { signal } = attempt;
    const response = await call.fetcher.fetch(call.url, { method, headers, body, redirect: "manual", signal });
    await response.body?.cancel();
  } catch {
    // As said above.
  } finally {
    cancel();
  }
}
