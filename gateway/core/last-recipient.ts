/**
 * TRACE and OPTIONS as they are met before anything else looks at them: hops are counted, and who asked for the last one gets its answer from here
 * (RFC 9110 7.6.2, 9.3.7, 9.3.8).
 */
import { countHop, countsHops } from "./http/max-forwards.ts";
import { NO_BODY, type ReadonlyFieldList, type RequestHead } from "./http/message.ts";
import type { RespondStep } from "./step.ts";

/** The answer when the request ends here, what is wrong with it, or undefined: it goes on, with one hop less. */
export function endsHere(head: RequestHead, protocol: string): RespondStep | string | undefined {
  if (!countsHops(head.method)) return undefined;
  const isTrace = head.method === "TRACE";
  // RFC 9110 9.3.8: a client must not send any, and what its answer would be is anybody's guess.
  if (isTrace && head.body.kind !== "none" && !(head.body.kind === "length" && head.body.bytes === 0))
    return "a TRACE request has no content";
  switch (countHop(head.fields)) {
    case "on":
      return undefined;
    case "malformed":
      return "Max-Forwards is not one number";
    case "last":
      return isTrace
        ? reflected(head, protocol)
        : { kind: "respond", head: { status: 200, fields: [], body: NO_BODY }, body: "", close: false };
  }
}

/** The request as it came, for its sender's eyes; without what could be a credential, because not only the sender may get to see it. */
function reflected(head: RequestHead, protocol: string): RespondStep {
  const { method, target, authority, fields } = head;
  let text = `${method} ${target} ${protocol}\r\nhost: ${authority}\r\n`;
  text += shown(fields);
  const body = Uint8Array.from(`${text}\r\n`, (char) => char.charCodeAt(0) & 0xff);
  const answer = { status: 200, fields: ["content-type", "message/http"], body: { kind: "length", bytes: body.length } } as const;
  return { kind: "respond", head: { ...answer, fields: [...answer.fields] }, body, close: false };
}

/** Names of fields that hold credentials, or might. */
const SENSITIVE = /auth|cookie|token|secret|passw|passport|credential|session|signature|cert|key/;

function shown(fields: ReadonlyFieldList): string {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (!SENSITIVE.test(name)) text += `${name}: ${fields[i + 1]}\r\n`;
  }
  return text;
}
