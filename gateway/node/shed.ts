/** Requests that are refused because the gateway has enough to do: by a factory in front of a listener's own, with an answer that costs next to nothing. */
import {
  type Clock,
  type Exchange,
  type ExchangeEnd,
  type HttpVersion,
  httpDate,
  type RequestHead,
  type RequestRecord,
  respondError,
  type Step,
} from "../core/index.ts";
import type { ClientRequest, ConnectionInfo, ExchangeFactory } from "./exchange.ts";
import { Misdirected } from "./misdirected.ts";
import { OneAnswer } from "./one-answer.ts";
import type { Overload, ShedReason } from "./overload.ts";

/** When to come back: most of what a gateway refuses is over in a moment. */
const RETRY_AFTER_S = 1;
/** An unread request body longer than this costs the connection instead. */
const MAX_DISCARD_BYTES = 64 * 1024;

const DETAILS: Readonly<Record<ShedReason, string>> = {
  connections: "too many connections",
  requests: "too many requests at once",
  memory: "memory is short",
  delay: "requests take too long",
};

export interface ShedPorts {
  readonly clock: Clock;
  readonly overload: Overload;
  /** Told of each refused request. */
  readonly shed: (reason: ShedReason, record: RequestRecord) => void;
  /** Of the snapshot in force. */
  readonly current: () => { readonly version: string; readonly explainHeaders: boolean };
}

/** Lets through what can be taken on, and counts it: the reporter counts it back. A few comparisons per request. */
export class AdmittingFactory implements ExchangeFactory {
  readonly #inner: ExchangeFactory;
  readonly #ports: ShedPorts;
  readonly #overload: Overload;

  constructor(inner: ExchangeFactory, ports: ShedPorts) {
    this.#inner = inner;
    this.#ports = ports;
    this.#overload = ports.overload;
  }

  open(request: ClientRequest, connection: ConnectionInfo): Exchange {
    if (connection.surplus === true) return new Shed("connections", request, connection, this.#ports);
    if (this.#overload.isFull) return new Shed(this.#overload.reason, request, connection, this.#ports);
    const exchange = this.#inner.open(request, connection);
    // Nobody is told of those, so nobody counts them back.
    if (!(exchange instanceof Misdirected)) this.#overload.requests += 1;
    return exchange;
  }

  follow(): void {
    this.#inner.follow?.();
  }
}

class Shed extends OneAnswer {
  readonly #reason: ShedReason;
  readonly #head: RequestHead;
  readonly #version: HttpVersion;
  readonly #connection: ConnectionInfo;
  readonly #ports: ShedPorts;
  readonly #startedMs: number;

  constructor(reason: ShedReason, { head, version }: ClientRequest, connection: ConnectionInfo, ports: ShedPorts) {
    super();
    this.#reason = reason;
    this.#head = head;
    this.#version = version;
    this.#connection = connection;
    this.#ports = ports;
    this.#startedMs = ports.clock.now();
  }

  start(): Step {
    const { body, fields, method } = this.#head;
    const isShort = body.kind === "none" || (body.kind === "length" && body.bytes <= MAX_DISCARD_BYTES);
    const close = this.#reason === "connections" || !isShort;
    const step = respondError("overload", fields, DETAILS[this.#reason], undefined, close);
    step.head.fields.push("retry-after", String(RETRY_AFTER_S), "date", httpDate(this.#ports.clock.unixMs()));
    const { version, explainHeaders } = this.#ports.current();
    if (explainHeaders) step.head.fields.push("x-tidegate-snapshot", version, "x-tidegate-reason", this.#told);
    return method === "HEAD" ? { ...step, body: "" } : step;
  }

  finished({ outcome, requestBytes, responseBytes }: ExchangeEnd): void {
    const { method, authority, target, scheme, fields } = this.#head;
    const { listener, peer } = this.#connection;
    this.#ports.shed(this.#reason, {
      snapshotVersion: this.#ports.current().version,
      listener,
      method,
      authority: authority ?? "",
      target,
      scheme: scheme ?? this.#connection.scheme,
      protocol: `HTTP/${this.#version}`,
      peer,
      fields,
      routeId: undefined,
      clusterName: undefined,
      endpoint: undefined,
      status: outcome === "client_gone" ? 0 : 503,
      flags: "OM",
      rule: undefined,
      reason: this.#told,
      attempts: 0,
      startedMs: this.#startedMs,
      requestBytes,
      responseBytes,
      durationMs: this.#ports.clock.now() - this.#startedMs,
      upstreamMs: undefined,
    });
  }

  get #told(): string {
    return `overload_${this.#reason}`;
  }
}
