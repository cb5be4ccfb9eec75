/**
 * One request and its response on a tunnel connection, as a pair of messages, each with its head, body and end:
 *
 *     open ──► outgoing: body                      incoming: head ──► body ──► ended      (who opened it)
 *              outgoing: head ──► body ──► ended   incoming: body ──► ended               (who accepted it)
 *
 *     live ──── both ended ────► closed (complete)
 *       └────── reset ─────────► closed (reset)           by either side, at any time
 */
import { type BodyKind, NO_BODY, type ResponseHead } from "../http/message.ts";

/** What of a message is to come next. */
type Part = "head" | "body" | "ended";

export type StreamState =
  | { readonly kind: "live"; readonly outgoing: Part; readonly incoming: Part }
  | { readonly kind: "closed"; readonly how: "complete" | "reset" };

export type StreamAction =
  | { readonly kind: "head"; readonly way: Way; readonly body: BodyKind }
  | { readonly kind: "data" | "end"; readonly way: Way }
  | { readonly kind: "reset" };
type Way = "outgoing" | "incoming";

/** @param body of the request: without one its message has ended already */
export function openedStream(role: "opener" | "acceptor", body: BodyKind): StreamState {
  const request = afterHead(body);
  return role === "opener"
    ? { kind: "live", outgoing: request, incoming: "head" }
    : { kind: "live", outgoing: "head", incoming: request };
}

/** @returns undefined: that may not happen in this state */
export function nextState(state: StreamState, action: StreamAction): StreamState | undefined {
  if (state.kind === "closed") return action.kind === "reset" ? state : undefined;
  if (action.kind === "reset") return { kind: "closed", how: "reset" };
  const part = state[action.way];
  switch (action.kind) {
    case "head":
      return part === "head" ? settled({ ...state, [action.way]: afterHead(action.body) }) : undefined;
    case "data":
      return part === "body" ? state : undefined;
    case "end":
      return part === "body" ? settled({ ...state, [action.way]: "ended" }) : undefined;
  }
}

/** RFC 9110 6.4.1: what follows a response's head, whatever length it tells. */
export function bodyBehind(method: string, { status, body }: ResponseHead): BodyKind {
  return method === "HEAD" || status === 204 || status === 304 ? NO_BODY : body;
}

function afterHead(body: BodyKind): Part {
  return body.kind === "none" ? "ended" : "body";
}

function settled(state: Extract<StreamState, { readonly kind: "live" }>): StreamState {
  return state.outgoing === "ended" && state.incoming === "ended" ? { kind: "closed", how: "complete" } : state;
}
