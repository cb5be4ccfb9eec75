/**
 * The way from a Node gateway to the banks of global quotas: batches of asks over HTTPS, on connections that are kept. A call that takes long is given up,
 * and is not a request's to wait for: those stop waiting much sooner. The token is sent over TLS or to this machine, and nowhere else.
 */
import { askBatch, type DueAsk, decodeLeaseAnswers, type LeaseAnswer, type LeaseLink, MAX_BATCH_BYTES } from "../core/index.ts";

/** Longest that a call to a bank takes. */
export const MAX_BANK_CALL_MS = 2000;
/** Of failures in a row one in this time is told. */
const TELL_EVERY_MS = 10_000;

export interface BankClientOptions {
  /** Where the site that keeps the banks answers: `https://host/.tidegate/bank`. */
  readonly url: string;
  readonly token: string;
  readonly now: () => number;
  readonly log: (level: "info" | "warn", message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export class BankClient implements LeaseLink {
  readonly #options: BankClientOptions;
  readonly #target: URL;
  #toldMs = Number.NEGATIVE_INFINITY;
  #isFailing = false;

  /** @throws RangeError if the URL is none that a token may be sent to */
  constructor(options: BankClientOptions) {
    const problem = bankUrlProblem(options.url);
    if (problem !== undefined) throw new RangeError(`the quota bank ${JSON.stringify(options.url)} ${problem}`);
    this.#options = options;
    this.#target = new URL(options.url);
  }

  async carry(holder: string, asks: readonly DueAsk[]): Promise<readonly LeaseAnswer[]> {
    try {
      const answers = await this.#post(JSON.stringify(askBatch(holder, asks)));
      if (this.#isFailing) this.#options.log("info", "the quota bank answers again", { url: this.#options.url });
      this.#isFailing = false;
      this.#tellProblems(answers);
      return answers;
    } catch (error) {
      this.#isFailing = true;
      this.#tell("the quota bank does not answer; each quota's onStoreFailure decides", reasonOf(error));
      throw error;
    }
  }

  background(_work: Promise<void>): void {
    // A process lives on by itself; the work never rejects.
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void setTimeout(resolve, ms));
  }

  async #post(body: string): Promise<readonly LeaseAnswer[]> {
    const response = await fetch(this.#target, {
      method: "POST",
      headers: { authorization: `Bearer ${this.#options.token}`, "content-type": "application/json" },
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(MAX_BANK_CALL_MS),
    });
    const text = await boundedText(response);
    if (response.status !== 200)
      throw new Error(`it answered ${response.status}${response.status === 401 ? ": is the token right?" : ""}`);
    const answers = decodeLeaseAnswers(JSON.parse(text));
    if (!answers.ok)
      throw new Error(`its answer cannot be read: ${answers.error.map(({ path, problem }) => `${path} ${problem}`).join("; ")}`);
    return answers.value;
  }

  /** Keys that the bank cannot count: most often its snapshot is not the one that this gateway has. */
  #tellProblems(answers: readonly LeaseAnswer[]): void {
    const refused = answers.find(({ problem }) => problem !== undefined);
    if (refused?.problem !== undefined) this.#tell("the quota bank cannot count a key", refused.problem);
  }

  #tell(message: string, reason: string): void {
    const nowMs = this.#options.now();
    if (nowMs - this.#toldMs < TELL_EVERY_MS) return;
    this.#toldMs = nowMs;
    this.#options.log("warn", message, { url: this.#options.url, reason });
  }
}

/** Why a token cannot be sent to a URL; undefined: it can. */
export function bankUrlProblem(url: string): string | undefined {
  if (!URL.canParse(url)) return "is not a URL; write https://host";
  const { protocol, hostname, username, password } = new URL(url);
  const isHere = hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d+){3}$/.test(hostname);
  if (protocol !== "https:" && !(protocol === "http:" && isHere)) return "would send the token in the clear; write https://host";
  return username === "" && password === "" ? undefined : "holds credentials; remove them, the token is enough";
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BATCH_BYTES) throw new Error(`its answer has more than ${MAX_BATCH_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
