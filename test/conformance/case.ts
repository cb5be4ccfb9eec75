/**
 * One case: what a gateway is configured with, what a client sends, how the origins behave, and what has to come of it.
 *
 * Plain data without a runtime in it. A runner configures a gateway with `snapshot`, plays the client and the origins, and compares. Endpoints
 * have made-up addresses: a runner over sockets puts its own in their place before it compiles, and back before it compares.
 */
import type { ErrorCode } from "../../gateway/core/error.ts";
import type { Snapshot } from "../../gateway/core/ir/index.ts";

export interface Case {
  readonly name: string;
  readonly snapshot: Snapshot;
  readonly request: CaseRequest;
  /** What each attempt meets, in order; the last one repeats. Default: 200 with the body `ok`. */
  readonly origin?: readonly OriginBehaviour[];
  /** Values the gateway's dice show, in order; the last one repeats. Default: 0.5. */
  readonly dice?: readonly number[];
  readonly expect: Expectation;
}

export interface CaseRequest {
  readonly scheme?: "http" | "https";
  readonly method?: string;
  readonly authority?: string;
  readonly target?: string;
  /** Besides Host: name, value, name, value, … */
  readonly fields?: readonly string[];
  readonly body?: string;
  readonly minor?: 0 | 1;
  readonly peer?: string;
}

export type OriginBehaviour =
  | { readonly status: number; readonly fields?: readonly string[]; readonly body?: string }
  /** No response; `sent`: the request may have arrived. */
  | { readonly fails: ErrorCode; readonly sent: boolean }
  /** Takes the request and stays silent. */
  | { readonly hangs: true };

export interface Expectation {
  /** Requests that reach origins, attempt by attempt. Left out: exactly one, of any form. */
  readonly upstream?: readonly ExpectedRequest[];
  readonly mirrored?: readonly string[];
  readonly status: number;
  /** Lines that the response has. */
  readonly fields?: { readonly [name: string]: string };
  readonly absent?: readonly string[];
  readonly body?: string | RegExp;
  /** Id of the route that the log names. */
  readonly route?: string | null;
  readonly flags?: string;
  readonly rule?: string;
  readonly reason?: string;
  /** Milliseconds from the first step to the last, where only waiting takes time. */
  readonly tookMs?: number;
}

export interface ExpectedRequest {
  /** Endpoint, `address:port`. */
  readonly to?: string;
  readonly method?: string;
  readonly authority?: string;
  readonly target?: string;
  readonly fields?: { readonly [name: string]: string };
  readonly absent?: readonly string[];
  readonly body?: string;
}
