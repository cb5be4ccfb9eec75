/** Core's verifier in the edge's runtime: takes what a hostile relay might hand over, answers the verdict. */
import { type AcceptContext, acceptSnapshot, openRoot, verifyManifest } from "../../../gateway/core/ir/index.ts";
import type { VerdictRequest } from "../../support/verdict.ts";

export default {
  async fetch(request: Request): Promise<Response> {
    const { pin, root, manifest, chunks, context } = (await request.json()) as VerdictRequest;
    const opened = await openRoot(bytesOf(root), pin);
    if (!opened.ok) return new Response(`root: ${opened.error.code}`);
    const full: AcceptContext = { accepted: undefined, floor: undefined, held: undefined, ...context, root: opened.value };
    if (chunks === undefined) {
      const verdict = await verifyManifest(bytesOf(manifest), full);
      return new Response(verdict.ok ? "accepted" : verdict.error.code);
    }
    const content = new Map(Object.entries(chunks).map(([hash, bytes]) => [hash, bytesOf(bytes)]));
    const outcome = await acceptSnapshot(bytesOf(manifest), content, full);
    return new Response(outcome.kind === "refused" ? outcome.refusal.code : outcome.kind);
  },
} satisfies ExportedHandler;

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
