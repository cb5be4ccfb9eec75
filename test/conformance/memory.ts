/** Runs cases against exchanges alone: the driver is a loop, the clock a number, an origin a row of the table. */

import type { BodyKind, RequestHead, ResponseHead } from "../../gateway/core/http/message.ts";
import { compile, createExchange, findHost, MapBank, QuotaFilter, type Tables } from "../../gateway/core/index.ts";
import { hostOf } from "../../gateway/core/match/host.ts";
import type { Clock, Ports, RequestRecord } from "../../gateway/core/ports.ts";
import type { Exchange, SendStep, Step } from "../../gateway/core/step.ts";
import type { Case, OriginBehaviour } from "./case.ts";
import type { Seen } from "./compare.ts";

export interface Outcome extends Seen {
  readonly record: RequestRecord;
  readonly tables: Tables;
  readonly tookMs: number;
}

const OK: OriginBehaviour = { status: 200, fields: ["content-type", "text/plain"], body: "ok" };
const DECODER = new TextDecoder();

export async function runInMemory(test: Case): Promise<Outcome> {
  const compiled = compile(test.snapshot, "1.7", undefined);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error, undefined, 1));
  return new MemoryDriver(test, compiled.value).run();
}

class MemoryDriver {
  readonly #test: Case;
  readonly #tables: Tables;
  readonly #upstream: { to: string; head: RequestHead; body: string }[] = [];
  readonly #mirrored: string[] = [];
  #nowMs = 1_000_000;
  #thrown = 0;
  #record: RequestRecord | undefined;
  #body = "";

  constructor(test: Case, tables: Tables) {
    this.#test = test;
    this.#tables = tables;
  }

  async run(): Promise<Outcome> {
    const startedMs = this.#nowMs;
    const exchange = this.#exchange();
    let step = exchange.start();
    for (;;) {
      if (step.kind === "wait") {
        await step.until;
        step = exchange.resumed();
      } else if (step.kind === "sleep") {
        this.#nowMs = Math.max(this.#nowMs, step.deadlineMs);
        step = exchange.timer();
      } else if (step.kind === "send") step = this.#send(exchange, step);
      else break;
    }
    const head = this.#responseHead(step);
    if (step.kind === "respond") this.#body = typeof step.body === "string" ? step.body : DECODER.decode(step.body);
    exchange.finished({
      outcome: "complete",
      requestBytes: this.#test.request.body?.length ?? 0,
      responseBytes: this.#body.length,
    });
    if (this.#record === undefined) throw new Error("no record");
    return {
      upstream: this.#upstream,
      mirrored: this.#mirrored,
      response: head === undefined ? undefined : { status: head.status, fields: head.fields, body: this.#body },
      record: this.#record,
      tables: this.#tables,
      tookMs: this.#nowMs - startedMs,
    };
  }

  #exchange(): Exchange {
    const { request } = this.#test;
    const authority = request.authority ?? "shop.example.com";
    const fields = ["host", authority, ...(request.fields ?? [])];
    const head: RequestHead = {
      method: request.method ?? "GET",
      scheme: request.scheme ?? "http",
      authority,
      target: request.target ?? "/",
      fields,
      body: lengthOf(request.body),
    };
    const listener = this.#tables.listeners.get(request.scheme === "https" ? "127.0.0.1:8443" : "127.0.0.1:8080")!;
    const server = findHost(listener.servers, hostOf(authority))!;
    const peer = { address: request.peer ?? "192.0.2.1", port: 40_000 };
    return createExchange(
      this.#tables,
      listener,
      server,
      { head, version: request.minor === 0 ? "1.0" : "1.1", connectionOptions: connectionOptions(fields) },
      peer,
      this.#ports(),
    );
  }

  #ports(): Ports {
    const clock: Clock = { now: () => this.#nowMs, unixMs: () => Date.UTC(2026, 0, 1) };
    const bank = () => new MapBank({ maxCounters: 1024, unixMs: clock.unixMs });
    const dice = this.#test.dice ?? [0.5];
    return {
      clock,
      random: () => dice[Math.min(this.#thrown++, dice.length - 1)]!,
      quotas: new QuotaFilter({ bank: bank(), fallback: bank(), nowUs: () => this.#nowMs * 1000 }),
      reporter: {
        request: (record) => {
          this.#record = record;
        },
      },
    };
  }

  #send(exchange: Exchange, step: SendStep): Step {
    const { endpoint } = step.target;
    this.#upstream.push({ to: `${endpoint.address}:${endpoint.port}`, head: step.head, body: this.#test.request.body ?? "" });
    for (const mirror of step.mirrors) this.#mirrored.push(`${mirror.target.endpoint.address}:${mirror.target.endpoint.port}`);
    const script = this.#test.origin ?? [OK];
    const behaviour = script[Math.min(this.#upstream.length, script.length) - 1] ?? OK;
    if ("hangs" in behaviour) {
      if (step.deadlineMs === undefined) throw new Error("the origin hangs and nothing ends that");
      this.#nowMs = step.deadlineMs;
      return exchange.timer();
    }
    if ("fails" in behaviour) {
      const replayable = this.#test.request.body === undefined || step.keepBody || !behaviour.sent;
      return exchange.failed({ code: behaviour.fails, reason: "scripted", neverSent: !behaviour.sent, replayable });
    }
    this.#body = behaviour.body ?? "";
    const fields = [...(behaviour.fields ?? [])];
    return exchange.responded({ status: behaviour.status, fields, body: lengthOf(behaviour.body) }, connectionOptions(fields));
  }

  #responseHead(step: Step): ResponseHead | undefined {
    return step.kind === "respond" || step.kind === "relay" ? step.head : undefined;
  }
}

function lengthOf(body: string | undefined): BodyKind {
  return body === undefined ? { kind: "none" } : { kind: "length", bytes: body.length };
}

function connectionOptions(fields: readonly string[]): readonly string[] | undefined {
  const at = fields.indexOf("connection");
  return at === -1 ? undefined : fields[at + 1]!.split(",").map((option) => option.trim().toLowerCase());
}
