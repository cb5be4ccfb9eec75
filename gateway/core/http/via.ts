/** Via (RFC 9110 7.6.3): who a message went through, and how often that was a gateway like this one. */
import type { HttpVersion, ReadonlyFieldList } from "./message.ts";

/** Name in Via and in Server of responses made here. */
export const PSEUDONYM = "tidegate";

/** A request that has passed this many gateways of this name goes round in circles (RFC 9110 7.6). */
export const MAX_OWN_HOPS = 16;

const VALUES: { readonly [version in HttpVersion]: string } = {
  "1.0": `1.0 ${PSEUDONYM}`,
  "1.1": `1.1 ${PSEUDONYM}`,
  "2": `2 ${PSEUDONYM}`,
};

/** @param received what the message came in by */
export function viaValue(received: HttpVersion): string {
  return VALUES[received];
}

/** The request has come through gateways of this name too often: it goes round in circles (RFC 9110 7.6). */
export function isLoop(fields: ReadonlyFieldList): boolean {
  let hops = 0;
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === "via") hops += ownHops(fields[i + 1] as string);
  return hops >= MAX_OWN_HOPS;
}

/** How many members of a Via line are gateways of this name. */
function ownHops(via: string): number {
  let hops = 0;
  for (let at = via.indexOf(MARK); at !== -1; at = via.indexOf(MARK, at + MARK.length)) {
    const next = via.charCodeAt(at + MARK.length);
    // The end, a comma, or white space: not a longer name.
    if (Number.isNaN(next) || next === COMMA || next === SPACE || next === TAB) hops++;
  }
  return hops;
}

const MARK = ` ${PSEUDONYM}`;
const COMMA = 0x2c;
const SPACE = 0x20;
const TAB = 0x09;
