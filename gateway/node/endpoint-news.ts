/** What threads tell one another about endpoints. Time travels as spans: every thread has a monotonic clock of its own. */
import type { EjectionReason, HealthEvent, NameAnswer, Names } from "../core/index.ts";

export type EndpointNews =
  | { readonly kind: "name"; readonly name: string; readonly answer: NameAnswer }
  /** `failure` undefined: well. */
  | { readonly kind: "checked"; readonly cluster: string; readonly key: string; readonly failure: string | undefined }
  | {
      readonly kind: "ejected";
      readonly cluster: string;
      readonly key: string;
      readonly reason: EjectionReason;
      readonly forMs: number;
    };

export type EjectionNews = Extract<EndpointNews, { readonly kind: "ejected" }>;

/** What names stand for, as one thread has heard. */
export class NameTable implements Names {
  #version = 0;
  readonly #answers = new Map<string, NameAnswer>();

  get version(): number {
    return this.#version;
  }

  get(name: string): NameAnswer | undefined {
    return this.#answers.get(name);
  }

  /** Told again what it knows, it changes nothing. */
  set(name: string, answer: NameAnswer): void {
    if (JSON.stringify(this.#answers.get(name)) === JSON.stringify(answer)) return;
    this.#answers.set(name, answer);
    this.#version++;
  }

  /** Names that no snapshot has any more are forgotten. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.#answers.keys()) if (!names.has(name)) this.#answers.delete(name);
  }
}

/** What it means for the endpoint. */
export function healthEvent(news: Exclude<EndpointNews, { kind: "name" }>, nowMs: number): HealthEvent {
  if (news.kind === "ejected") return { kind: "ejected", untilMs: nowMs + news.forMs, reason: news.reason };
  return news.failure === undefined ? { kind: "check-passed" } : { kind: "check-failed", reason: news.failure };
}
