/**
 * Is given a signed snapshot (PUT), verifies and compiles it as often as the query says (POST) and holds the last outcome, as an isolate does. DELETE
 * forgets what was given and keeps the outcome. What it costs is measured from outside: a Worker's own clock stands still while it computes.
 */
import { compile, type Tables } from "../../../gateway/core/index.ts";
import { acceptSnapshot, DEFAULT_SNAPSHOT_LIMITS, type HeldSnapshot, openRoot } from "../../../gateway/core/ir/index.ts";

/** Bytes as base64. */
export interface HolderWork {
  readonly jws: string;
  readonly chunks: Readonly<Record<string, string>>;
  readonly root: string;
  readonly pin: string;
  readonly audience: string;
  readonly nowS: number;
}

interface Given extends Pick<HolderWork, "pin" | "audience" | "nowS"> {
  readonly jws: Uint8Array;
  readonly root: Uint8Array;
  readonly chunks: ReadonlyMap<string, Uint8Array>;
}

let given: Given | undefined;
let held: { readonly snapshot: HeldSnapshot; readonly tables: Tables } | undefined;

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method === "PUT") {
      given = givenBy(await request.json());
    } else if (request.method === "DELETE") given = undefined;
    else if (request.method === "POST") {
      if (given === undefined) return new Response("nothing was given to verify", { status: 409 });
      const rounds = Number(new URL(request.url).searchParams.get("rounds") ?? 1);
      for (let round = 0; round < rounds; round += 1) held = await take(given);
    }
    return Response.json({ listeners: held?.tables.listeners.size ?? 0 });
  },
} satisfies ExportedHandler;

function givenBy({ jws, root, chunks, pin, audience, nowS }: HolderWork): Given {
  const byHash = new Map(Object.entries(chunks).map(([hash, text]) => [hash, fromBase64(text)]));
  return { jws: fromBase64(jws), root: fromBase64(root), chunks: byHash, pin, audience, nowS };
}

async function take(work: Given): Promise<typeof held> {
  const root = await openRoot(work.root, work.pin);
  if (!root.ok) throw new Error(root.error.detail);
  const accepted = await acceptSnapshot(work.jws, work.chunks, {
    ...{ root: root.value, audience: work.audience, nowS: work.nowS, limits: DEFAULT_SNAPSHOT_LIMITS, clockSkewS: 30 },
    ...{ accepted: undefined, floor: undefined, held: undefined, purpose: "update", gatewayId: "bench" },
  });
  if (accepted.kind !== "accepted") throw new Error(JSON.stringify(accepted));
  const tables = compile(accepted.held.snapshot, "1.1", undefined);
  if (!tables.ok) throw new Error(JSON.stringify(tables.error[0]));
  return { snapshot: accepted.held, tables: tables.value };
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
