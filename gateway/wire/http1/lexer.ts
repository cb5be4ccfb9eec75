/**
 * Field lines, lexed in one pass over the bytes and resumable after any of them.
 *
 * The lexer notes where names and values lie; strings are cut out of one decoded head once all of it is there. Every check
 * depends on positions alone, never on how the bytes were split, so a split cannot change what is read.
 */
import type { FieldList } from "../../core/http/message.ts";
import { COLON, CR, HTAB, LF, SP, TOKEN, VALUE } from "./chars.ts";
import type { ProtocolErrorCode } from "./errors.ts";
import type { Framing } from "./framing.ts";
import { KNOWN_NAMES, knownName, LAST_SPECIAL } from "./names.ts";

/** What a lexer says when it stops: all read, more bytes wanted, or a broken rule. */
export type Lexed = "done" | "need" | ProtocolErrorCode;

/** Which limits apply and what breaking them is called. */
export interface SectionLimits {
  readonly maxBytes: number;
  readonly maxCount: number;
  readonly tooLarge: ProtocolErrorCode;
  readonly tooMany: ProtocolErrorCode;
}

const LINE_START = 0;
const NAME = 1;
const OWS = 2;
const CONTENT = 3;
const LINE_LF = 4;
const LAST_LF = 5;

export class FieldLexer {
  /** Position, counted from the start of the unit being lexed (a head's first byte, a trailer section's first byte). */
  at = 0;
  #phase = LINE_START;
  /** Where the section starts, counted likewise. */
  #sectionStart = 0;
  #nameStart = 0;
  #nameEnd = 0;
  #valueStart = 0;
  #limits: SectionLimits;
  /** Per field: -1 - index of a known name or else the name's start, the name's end, the value's start and end. */
  readonly #spans: number[] = [];
  #count = 0;

  constructor(limits: SectionLimits) {
    this.#limits = limits;
  }

  /** Starts a section at `at`. */
  begin(at: number, limits: SectionLimits): void {
    this.at = at;
    this.#sectionStart = at;
    this.#phase = LINE_START;
    this.#limits = limits;
    this.#count = 0;
  }

  /** Reads on in `bytes`, whose unit begins at `base`. After `done`, `at` is the first byte behind the closing empty line. */
  run(bytes: Uint8Array, base: number, end: number): Lexed {
    // The closing CRLF may lie behind the limit; the lines before it may not.
    const bound = base + this.#sectionStart + this.#limits.maxBytes + 2;
    const stop = Math.min(end, bound);
    let phase = this.#phase;
    let pos = base + this.at;
    for (;;) {
      if (phase === LINE_START) {
        if (pos === stop) break;
        const byte = bytes[pos] as number;
        if (byte === CR) {
          pos++;
          phase = LAST_LF;
        } else {
          // RFC 9112 5.2: obsolete folding has no one meaning; RFC 9112 2.2: nor has white space before the first field.
          if (byte === SP || byte === HTAB) return "obs_fold";
          if (byte === LF) return "bare_lf";
          if (this.#count === this.#limits.maxCount) return this.#limits.tooMany;
          this.#nameStart = pos - base;
          phase = NAME;
        }
      }
      if (phase === NAME) {
        while (pos < stop && TOKEN[bytes[pos] as number] !== 0) pos++;
        if (pos === stop) break;
        const byte = bytes[pos] as number;
        if (byte !== COLON) return byte === SP || byte === HTAB ? "whitespace_before_colon" : "bad_field_name";
        this.#nameEnd = pos - base;
        // RFC 9112 5: field-name is a token, which is never empty.
        if (this.#nameEnd === this.#nameStart) return "bad_field_name";
        pos++;
        phase = OWS;
      }
      if (phase === OWS) {
        while (pos < stop && (bytes[pos] === SP || bytes[pos] === HTAB)) pos++;
        if (pos === stop) break;
        this.#valueStart = pos - base;
        phase = CONTENT;
      }
      if (phase === CONTENT) {
        while (pos < stop && VALUE[bytes[pos] as number] !== 0) pos++;
        if (pos === stop) break;
        if (bytes[pos] !== CR) return bytes[pos] === LF ? "bare_lf" : "bad_field_value";
        this.#note(bytes, base, pos);
        pos++;
        phase = LINE_LF;
      }
      if (pos === stop) break;
      // RFC 9112 2.2: a CR that no LF follows is never part of a message's protocol elements.
      if (bytes[pos] !== LF) return "bare_cr";
      pos++;
      if (phase === LAST_LF) {
        this.at = pos - base;
        return "done";
      }
      phase = LINE_START;
    }
    this.at = pos - base;
    this.#phase = phase;
    return stop === bound ? this.#limits.tooLarge : "need";
  }

  /**
   * The fields of a finished section. `text` is the decoded unit. Fields that frame the message go to `framing` and not into the list.
   * Long values share the memory of `text`: whoever keeps one for long copies it.
   */
  collect(text: string, framing: Framing): FieldList {
    const fields: FieldList = [];
    const spans = this.#spans;
    const end = this.#count * 4;
    for (let i = 0; i < end; i += 4) {
      const name = spans[i] as number;
      const value = text.slice(spans[i + 2] as number, spans[i + 3] as number);
      if (name >= 0) fields.push(text.slice(name, spans[i + 1] as number).toLowerCase(), value);
      else if (name >= -1 - LAST_SPECIAL && framing.note(-1 - name, value)) continue;
      else fields.push(KNOWN_NAMES[-1 - name] as string, value);
    }
    return fields;
  }

  /** Like `collect` for a section that frames nothing: `wanted` says which names stay. */
  collectAll(text: string, wanted: (name: string) => boolean): FieldList {
    const fields: FieldList = [];
    for (let i = 0; i < this.#count * 4; i += 4) {
      const [start, nameEnd, valueStart, valueEnd] = this.#spans.slice(i, i + 4) as [number, number, number, number];
      const name = start >= 0 ? text.slice(start, nameEnd).toLowerCase() : (KNOWN_NAMES[-1 - start] as string);
      if (wanted(name)) fields.push(name, text.slice(valueStart, valueEnd));
    }
    return fields;
  }

  #note(bytes: Uint8Array, base: number, valueEnd: number): void {
    const spans = this.#spans;
    const slot = this.#count++ * 4;
    const known = knownName(bytes, base + this.#nameStart, base + this.#nameEnd);
    // RFC 9112 5.1: white space around a value is not part of it.
    const floor = base + this.#valueStart;
    let last = valueEnd;
    while (last > floor && (bytes[last - 1] === SP || bytes[last - 1] === HTAB)) last--;
    spans[slot] = known === -1 ? this.#nameStart : -1 - known;
    spans[slot + 1] = this.#nameEnd;
    spans[slot + 2] = this.#valueStart;
    spans[slot + 3] = last - base;
  }
}
