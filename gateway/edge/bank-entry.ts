/**
 * `POST BANK_PATH`: how Node gateways and other sites draw on this site's banks. The Worker has checked the caller's token before. A caller names a
 * quota and a limit; what they allow comes out of this site's own verified snapshot.
 */
import {
  bankKeyLimit,
  type CompiledQuota,
  type DueAsk,
  decodeAskBatch,
  type LeaseAnswer,
  MAX_BATCH_BYTES,
  type NamedAsk,
} from "../core/index.ts";
import { askBanks } from "./bank-rpc.ts";

/** Where a site answers whoever draws on its banks. */
export const BANK_PATH = "/.tidegate/bank";
const RETRY_MS = 1000;

/** @param quotas of the snapshot in force, by id */
export async function answerBankRequest(
  request: Request,
  quotas: ReadonlyMap<string, CompiledQuota>,
  namespace: DurableObjectNamespace,
): Promise<Response> {
  if (request.method !== "POST") return problem(405, "ask the bank with POST", { allow: "POST" });
  const text = await boundedText(request);
  if (text === undefined) return problem(413, `a batch has at most ${MAX_BATCH_BYTES} bytes`);
  const batch = decodeAskBatch(parse(text));
  if (!batch.ok) return problem(400, batch.error.map(({ path, problem }) => `${path} ${problem}`).join("; "));
  const { holder, asks } = batch.value;
  const due: DueAsk[] = [];
  const answers: LeaseAnswer[] = [];
  for (const ask of asks) {
    const limit = bankKeyLimit(quotas.get(ask.quota), ask.limit, ask.key);
    if (limit === undefined) answers.push(unknown(ask));
    else due.push({ id: ask.id, key: ask.key, need: ask.need, wanted: ask.wanted, debt: ask.debt, ended: ask.ended, limit });
  }
  try {
    answers.push(...(await askBanks(namespace, holder, due)));
  } catch {
    return problem(503, "the banks do not answer", { "retry-after": "1" });
  }
  return Response.json({ answers });
}

function unknown({ id, quota, limit }: NamedAsk): LeaseAnswer {
  const problem = `the bank's snapshot has no global limit ${quota}#${limit}`;
  return { id, granted: 0, forMs: 0, retryMs: RETRY_MS, moreMs: 0, problem };
}

/** Undefined: there is more than a batch may have. */
async function boundedText(request: Request): Promise<string | undefined> {
  if (request.body === null) return "";
  const decoder = new TextDecoder();
  let bytes = 0;
  let text = "";
  for await (const chunk of request.body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BATCH_BYTES) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function problem(status: number, detail: string, headers: Record<string, string> = {}): Response {
  return Response.json({ title: "The bank cannot be asked like that", status, detail }, { status, headers });
}
