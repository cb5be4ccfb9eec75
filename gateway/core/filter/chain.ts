/**
 * What a request passes before it is sent, in a fixed order. The order is policy, not plumbing:
 *
 * 1. redirect to https: nothing else is said over plain HTTP where a host asks for TLS;
 * 2. quotas: of the table, the virtual host and the route, all or nothing. Before faults, so that a delayed request is counted when it came;
 *    before routes are missed, so that guessing paths is counted too;
 * 3. fault delay and abort;
 * 4. CORS: a preflight is answered here;
 * 5. the route's action: redirect and direct response are answered here, forward goes on to the exchange.
 *
 * A stage that has to wait names the stage to go on with.
 */

import type { MatchTest } from "../compile/match.ts";
import type { CompiledRoute, CompiledVirtualHost } from "../compile/tables.ts";
import type { ErrorCode } from "../error.ts";
import { grpcStatusOfHttp } from "../http/grpc-status.ts";
import type { RequestView } from "../match/request.ts";
import type { Random } from "../ports.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import type { RespondStep, Step } from "../step.ts";
import { answerPreflight } from "./cors.ts";
import { direct } from "./direct.ts";
import { faultAbort, faultDelayMs } from "./fault.ts";
import { editFields } from "./headers.ts";
import { redirect, redirectToHttps } from "./redirect.ts";

export const STAGE = { https: 0, quota: 1, fault: 2, abort: 3 } as const;
export type Stage = (typeof STAGE)[keyof typeof STAGE];

/** What filters see of an exchange, and what they may ask of it. */
export interface FilterContext extends RequestView {
  readonly virtualHost: CompiledVirtualHost | undefined;
  readonly route: CompiledRoute | undefined;
  readonly match: MatchTest | undefined;
  readonly random: Random;
  /** That apply to this request. */
  readonly quotas: readonly CompiledQuota[];
  /** Charges `quotas`. The answer to a refusal, a wait that comes back to stage `fault`, or undefined. */
  charge(): Step | undefined;
  /** Answers with an error. `rule` names what decided. */
  reject(code: ErrorCode, rule?: string, detail?: string, status?: number, grpc?: number): Step;
  /** Comes back to `then` after `ms`. */
  hold(ms: number, then: Stage): Step;
  /** The request was held up on purpose: no timeout and no retries from here on. */
  delayed(): void;
}

/** Runs the stages from `from` on; undefined: nothing stands in the way of forwarding. */
export function runChain(context: FilterContext, from: Stage): Step | undefined {
  if (from === STAGE.https) {
    const tls = context.virtualHost?.source.httpsRedirect;
    if (tls !== undefined && context.scheme === "http") {
      return context.authority === ""
        ? context.reject("bad_request", undefined, "a redirect needs a Host")
        : redirectToHttps(tls, context);
    }
  }
  if (from <= STAGE.quota && context.quotas.length > 0) {
    const step = context.charge();
    if (step !== undefined) return step;
  }
  const route = context.route;
  if (route === undefined) return context.reject("no_route");
  if (route.fault !== undefined) {
    const step = injectFault(context, route, from);
    if (step !== undefined) return step;
  }
  if (route.cors !== undefined) {
    const step = answerPreflight(route.cors, context.method, context.fields);
    if (step !== undefined) return step;
  }
  switch (route.action.kind) {
    case "forward":
      return undefined;
    case "redirect":
      return edited(redirect(route.action.source, context.match, context), route);
    case "direct":
      return edited(direct(route.action), route);
  }
}

function edited(step: RespondStep, route: CompiledRoute): RespondStep {
  if (route.responseEdit !== undefined) editFields(step.head.fields, route.responseEdit);
  return step;
}

function injectFault(context: FilterContext, route: CompiledRoute, from: Stage): Step | undefined {
  if (from <= STAGE.fault) {
    const ms = faultDelayMs(route.fault, context.random);
    if (ms > 0) {
      context.delayed();
      return context.hold(ms, STAGE.abort);
    }
  }
  if (from <= STAGE.abort) {
    const abort = faultAbort(route.fault, context.random);
    if (abort !== undefined) {
      const grpc = abort.grpcStatus ?? grpcStatusOfHttp(abort.status);
      return context.reject("fault_abort", route.source.id, undefined, abort.status, grpc);
    }
  }
  return undefined;
}
