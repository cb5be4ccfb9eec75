/** Cross-origin requests (WHATWG Fetch, "HTTP-CORS protocol"). */
import type { CompiledCors } from "../compile/tables.ts";
import { type FieldList, field, NO_BODY, type ReadonlyFieldList } from "../http/message.ts";
import { testString } from "../match/string.ts";
import type { RespondStep } from "../step.ts";

/**
 * The answer to a preflight that is settled here, or undefined when the request goes on: it is no preflight, or no origin of the policy
 * matches and those are passed on.
 */
export function answerPreflight(cors: CompiledCors, method: string, request: ReadonlyFieldList): RespondStep | undefined {
  if (method !== "OPTIONS") return undefined;
  const origin = field(request, "origin");
  if (origin === undefined || field(request, "access-control-request-method") === undefined) return undefined;
  const allowed = allowsOrigin(cors, origin);
  if (!allowed && cors.unmatchedPreflights === "forward") return undefined;
  const fields: FieldList = ["vary", "origin"];
  if (allowed) fields.push("access-control-allow-origin", origin, ...cors.preflight);
  return { kind: "respond", head: { status: 200, fields, body: NO_BODY }, body: "", close: false };
}

/**
 * Lets the page that asked read a response. The policy is the whole truth about the route: what the origin said about CORS is replaced for
 * origins that the policy allows, and left alone for others.
 */
export function addCorsFields(cors: CompiledCors, request: ReadonlyFieldList, response: FieldList): void {
  const origin = field(request, "origin");
  if (origin !== undefined && allowsOrigin(cors, origin)) {
    dropOwnFields(response);
    response.push("access-control-allow-origin", origin);
    for (const part of cors.actual) response.push(part);
  }
  // Said to requests without Origin too: a cache must not hand their answer to those with one.
  response.push("vary", "origin");
}

function allowsOrigin(cors: CompiledCors, origin: string): boolean {
  if (cors.anyOrigin) return true;
  for (const test of cors.origins) if (testString(test, origin)) return true;
  return false;
}

function dropOwnFields(fields: FieldList): void {
  let kept = 0;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (
      name === "access-control-allow-origin" ||
      name === "access-control-allow-credentials" ||
      name === "access-control-expose-headers"
    )
      continue;
    fields[kept] = name;
    fields[kept + 1] = fields[i + 1] as string;
    kept += 2;
  }
  fields.length = kept;
}
