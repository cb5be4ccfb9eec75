/**
 * Carries out the steps of an egress exchange with `fetch`. Redirects are relayed and never followed: where they point is for the caller to ask,
 * and for core to decide. A WebSocket is a request like another one, whose answer has a socket.
 */
import {
  type AttemptFailure,
  type EgressExchange,
  type ExchangeEnd,
  type FieldList,
  type RequestHead,
  type ResponseHead,
  type SendStep,
  STREAM_BODY,
  type WaitStep,
} from "../core/index.ts";
import { urlOf } from "./egress-target.ts";
import type { ArmTimer } from "./isolate.ts";

export interface Carrier {
  readonly now: () => number;
  readonly arm: ArmTimer;
  readonly fetch: (request: Request) => Promise<Response>;
  /** Told, for the operator, what the runtime says about a host that was not reached. */
  readonly unreached: (url: string, reason: string) => void;
}

/** @returns the answer; the exchange is told its end once the answer's body has ended */
export async function carryOut(exchange: EgressExchange, incoming: Request, carrier: Carrier): Promise<Response> {
  let answer: Response | undefined;
  for (let step = exchange.start(); ; ) {
    switch (step.kind) {
      case "wait":
        step = (await settled(step, carrier)) ? exchange.resumed() : exchange.timer();
        break;
      case "send": {
        const sent = await send(step, incoming, carrier);
        if (sent instanceof Response) {
          answer = sent;
          step = exchange.responded(headOf(sent));
        } else step = exchange.failed(sent);
        break;
      }
      case "relay":
        if (answer === undefined) throw new Error("an answer is relayed that nobody gave");
        return relayed(step.head, answer, exchange, incoming);
      case "respond":
        // An answer that is not passed on is not read either.
        await answer?.body?.cancel();
        exchange.finished({ outcome: "complete", requestBytes: 0, responseBytes: step.body.length });
        return new Response(bodyOf(step.body), { status: step.head.status, headers: headersOf(step.head.fields) });
      case "sleep":
      case "tunnel":
      case "drop":
        // Core asks for none of these of a gateway without tunnels and retries.
        throw new Error(`an egress Worker cannot carry out ${step.kind}`);
    }
  }
}

/** False: it took too long. */
async function settled({ until, deadlineMs }: WaitStep, { now, arm }: Carrier): Promise<boolean> {
  if (deadlineMs === undefined) {
    await until;
    return true;
  }
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const cancel = arm(Math.max(0, deadlineMs - now()), () => resolve(false));
  try {
    return await Promise.race([until.then(() => true), late]);
  } finally {
    cancel();
  }
}

async function send({ head }: SendStep, incoming: Request, carrier: Carrier): Promise<Response | AttemptFailure> {
  const url = urlOf(head);
  if (url === undefined) return failure("upstream_protocol", "the runtime reads this URL as another one");
  try {
    return await carrier.fetch(outgoing(url, head, incoming));
  } catch (error) {
    carrier.unreached(`${head.scheme}://${head.authority}`, error instanceof Error ? error.message : String(error));
    return failure("upstream_connect", NO_ANSWER);
  }
}

/** What the runtime says is for its log ("internal error"), and does not tell these apart. */
const NO_ANSWER = "it does not answer, its address is not public, or its certificate is not for that name";

function outgoing(url: string, head: RequestHead, incoming: Request): Request {
  const headers = headersOf(head.fields);
  if (isWebSocket(incoming)) headers.set("upgrade", "websocket");
  return new Request(url, { method: head.method, headers, body: incoming.body, redirect: "manual" });
}

/** Whether the host has got the request nobody knows. */
function failure(code: AttemptFailure["code"], reason: string): AttemptFailure {
  return { code, reason, neverSent: false, replayable: false };
}

function headOf(response: Response): ResponseHead {
  return { status: response.status, fields: fieldsOf(response.headers), body: STREAM_BODY };
}

function relayed(head: ResponseHead, answer: Response, exchange: EgressExchange, incoming: Request): Response {
  const headers = headersOf(head.fields);
  const { status, statusText, webSocket } = answer;
  const length = answer.headers.get("content-length");
  // Of a body the runtime says the length itself; HEAD has none to tell it from (RFC 9110 8.6).
  if (incoming.method === "HEAD" && length !== null) headers.set("content-length", length);
  if (webSocket) {
    exchange.finished({ outcome: "complete", requestBytes: 0, responseBytes: 0 });
    return new Response(null, { status, statusText, headers, webSocket });
  }
  const sent = Number(incoming.headers.get("content-length") ?? 0);
  const end = (outcome: ExchangeEnd["outcome"], responseBytes: number): void =>
    exchange.finished({ outcome, requestBytes: sent, responseBytes });
  // Bytes that nobody waits for pass through the runtime without being seen here.
  if (answer.body === null || !exchange.holdsQuota) {
    end("complete", Number(length ?? 0));
    return new Response(answer.body, { status, statusText, headers });
  }
  return new Response(counted(answer.body, end), { status, statusText, headers });
}

/** Tells the end of a body once, however it comes, and how much of it there was. */
function counted(
  body: ReadableStream<Uint8Array>,
  end: (outcome: ExchangeEnd["outcome"], bytes: number) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let bytes = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) {
          end("complete", bytes);
          controller.close();
          return;
        }
        bytes += value.byteLength;
        controller.enqueue(value);
      } catch (error) {
        end("upstream_cut", bytes);
        controller.error(error);
      }
    },
    async cancel(reason) {
      end("client_gone", bytes);
      await reader.cancel(reason);
    },
  });
}

export function isWebSocket(request: Request): boolean {
  return request.headers.get("upgrade")?.toLowerCase() === "websocket";
}

export function fieldsOf(headers: Headers): FieldList {
  const fields: FieldList = [];
  for (const [name, value] of headers) fields.push(name, value);
  return fields;
}

function headersOf(fields: readonly string[]): Headers {
  const headers = new Headers();
  for (let i = 0; i + 1 < fields.length; i += 2) headers.append(fields[i] ?? "", fields[i + 1] ?? "");
  return headers;
}

function bodyOf(body: string | Uint8Array): string | Uint8Array<ArrayBuffer> | null {
  if (body.length === 0) return null;
  return typeof body === "string" ? body : new Uint8Array(body);
}
