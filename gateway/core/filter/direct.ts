import type { CompiledDirect } from "../compile/tables.ts";
import type { RespondStep } from "../step.ts";

/** The configured response, its body encoded once per snapshot. */
export function direct(action: CompiledDirect): RespondStep {
  return {
    kind: "respond",
    head: { status: action.status, fields: action.fields.slice(), body: action.framing },
    body: action.body,
    close: false,
  };
}
