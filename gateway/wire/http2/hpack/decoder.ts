/** Header blocks, from bytes to fields (RFC 7541 3, 5, 6). */
import { type Latin1Decoder, TOKEN, VALUE } from "../../http1/chars.ts";
import { KNOWN_NAMES, knownName } from "../../http1/names.ts";
import { BAD_NAME, BAD_VALUE, kindOf } from "../message/kinds.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { type FieldEntry, newEntry } from "./entry.ts";
import { decodeHuffman } from "./huffman.ts";
import { STATIC_LENGTH, STATIC_TABLE } from "./static-table.ts";

const SP = 0x20;
const HTAB = 0x09;
const COLON = 0x3a;

/** Bytes of an integer behind its prefix that are read: up to 2^28, far beyond any length or index that can be meant (RFC 7541 5.1). */
export const MAX_INTEGER_BYTES = 4;

/** Takes the fields of a block, in order. */
export interface FieldSink {
  field(kind: number, name: string, value: string): void;
  /** The field that follows must not be put into a table by anybody further on (RFC 7541 6.2.3). */
  neverIndexed(name: string): void;
}

export interface HpackDecoderLimits {
  readonly maxHeaderBlockBytes: number;
  readonly maxTableSizeUpdates: number;
}

/** What all decoders of a listener or cluster share. */
export class HpackDecoderSettings {
  readonly limits: HpackDecoderLimits;
  readonly decode: Latin1Decoder;
  /** A text of a block can become 8/5 as long; texts are decoded one at a time. */
  readonly scratch: Uint8Array;

  constructor(limits: HpackDecoderLimits, decode: Latin1Decoder) {
    this.limits = limits;
    this.decode = decode;
    this.scratch = new Uint8Array(Math.ceil((limits.maxHeaderBlockBytes * 8) / 5));
  }
}

/**
 * Fields that break a rule of HTTP are not errors of compression: they are handed on with a kind that says so, and take their place in the table as
 * any, so that both ends go on agreeing about it.
 */
export class HpackDecoder {
  readonly #settings: HpackDecoderSettings;
  readonly #table: DynamicTable<FieldEntry>;
  /** What our SETTINGS allow the peer's encoder. */
  #allowedBytes: number;
  /** The peer has to shrink its table first, for our SETTINGS allow less than it uses (RFC 7541 4.2). */
  #owesUpdate = false;
  // The block being read.
  #bytes: Uint8Array = NOTHING;
  #at = 0;
  #end = 0;
  /** Kind of the text that was read last. */
  #kind = 0;

  constructor(settings: HpackDecoderSettings, tableBytes: number) {
    this.#settings = settings;
    this.#allowedBytes = tableBytes;
    this.#table = new DynamicTable(tableBytes);
  }

  /** The peer has acknowledged a SETTINGS_HEADER_TABLE_SIZE of ours. */
  allow(tableBytes: number): void {
    this.#owesUpdate = tableBytes < this.#table.maxBytes;
    this.#allowedBytes = tableBytes;
  }

  /** Reads the block `[start, end)`, which is complete. @returns false when it is broken: the tables differ then, and the connection is of no use */
  decode(bytes: Uint8Array, start: number, end: number, sink: FieldSink): boolean {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    const whole = this.#updates() && this.#fields(sink);
    this.#bytes = NOTHING;
    return whole;
  }

  /** RFC 7541 4.2, 6.3: size updates come at the start of a block. */
  #updates(): boolean {
    let left = this.#settings.limits.maxTableSizeUpdates;
    while (this.#at < this.#end && ((this.#bytes[this.#at] as number) & 0xe0) === 0x20) {
      const size = this.#integer(0x1f);
      if (size < 0 || size > this.#allowedBytes || left-- === 0) return false;
      this.#table.resize(size);
      this.#owesUpdate = false;
    }
    return !this.#owesUpdate;
  }

  #fields(sink: FieldSink): boolean {
    while (this.#at < this.#end) {
      const byte = this.#bytes[this.#at] as number;
      if (byte >= 0x80) {
        // RFC 7541 6.1.
        const index = byte !== 0xff ? byte & 0x7f : this.#integer(0x7f);
        if (byte !== 0xff) this.#at++;
        const entry = this.#entry(index);
        if (entry === undefined) return false;
        sink.field(entry.kind, entry.name, entry.value);
      } else if (!this.#literal(byte, sink)) return false;
    }
    return true;
  }

  #entry(index: number): FieldEntry | undefined {
    return index > STATIC_LENGTH ? this.#table.at(index - STATIC_LENGTH) : index < 0 ? undefined : STATIC_TABLE[index];
  }

  /** RFC 7541 6.2.1 to 6.2.3. */
  #literal(byte: number, sink: FieldSink): boolean {
    const indexed = byte >= 0x40;
    // A size update has its place at the start.
    if (!indexed && byte >= 0x20) return false;
    const index = this.#integer(indexed ? 0x3f : 0x0f);
    let kind: number;
    let name: string | undefined;
    if (index === 0) {
      name = this.#text(true);
      kind = this.#kind;
    } else {
      const entry = this.#entry(index);
      name = entry?.name;
      // The value is another one, with faults of its own.
      kind = entry === undefined || entry.kind !== BAD_VALUE ? (entry?.kind ?? 0) : kindOf(entry.name);
    }
    if (name === undefined) return false;
    const value = this.#text(false);
    if (value === undefined) return false;
    if (this.#kind === BAD_VALUE && kind !== BAD_NAME) kind = BAD_VALUE;
    if (indexed) this.#add(kind, name, value);
    else if (byte >= 0x10) sink.neverIndexed(name);
    sink.field(kind, name, value);
    return true;
  }

  #add(kind: number, name: string, value: string): void {
    const entry = newEntry(kind, name, value);
    if (this.#table.makeRoom(entry.size)) this.#table.add(entry);
  }

  /** RFC 7541 5.1, at the current byte, whose bits under `mask` are the prefix. @returns -1 when it is cut or larger than can be meant */
  #integer(mask: number): number {
    const bytes = this.#bytes;
    let value = (bytes[this.#at++] as number) & mask;
    if (value !== mask) return value;
    const stop = Math.min(this.#end, this.#at + MAX_INTEGER_BYTES);
    for (let shift = 0; this.#at < stop; shift += 7) {
      const byte = bytes[this.#at++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1;
  }

  /** RFC 7541 5.2. Leaves in `#kind` what the text is. Undefined when it is cut or no Huffman code. */
  #text(isName: boolean): string | undefined {
    if (this.#at >= this.#end) return undefined;
    const isHuffman = (this.#bytes[this.#at] as number) >= 0x80;
    const length = this.#integer(0x7f);
    const start = this.#at;
    if (length < 0 || length > this.#end - start) return undefined;
    this.#at = start + length;
    if (!isHuffman) return this.#cut(isName, this.#bytes, start, start + length);
    const { scratch } = this.#settings;
    const written = decodeHuffman(this.#bytes, start, start + length, scratch);
    return written === -1 ? undefined : this.#cut(isName, scratch, 0, written);
  }

  #cut(isName: boolean, bytes: Uint8Array, start: number, end: number): string {
    if (isName) return this.#name(bytes, start, end);
    this.#kind = isFieldContent(bytes, start, end) ? 0 : BAD_VALUE;
    return start === end ? "" : this.#settings.decode(bytes, start, end);
  }

  #name(bytes: Uint8Array, start: number, end: number): string {
    const isPseudo = bytes[start] === COLON;
    let at = isPseudo ? start + 1 : start;
    const first = at;
    // RFC 9113 8.2.1: in lower case.
    while (at < end && isLowerToken(bytes[at] as number)) at++;
    if (at < end || first === end) {
      this.#kind = BAD_NAME;
      return this.#settings.decode(bytes, start, end);
    }
    const known = isPseudo ? -1 : knownName(bytes, start, end);
    const name = known === -1 ? this.#settings.decode(bytes, start, end) : (KNOWN_NAMES[known] as string);
    this.#kind = kindOf(name);
    return name;
  }
}

/** RFC 9113 8.2.1: no control characters (RFC 9110 5.5), no white space at the ends. */
function isFieldContent(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) return true;
  for (let at = start; at < end; at++) if (VALUE[bytes[at] as number] === 0) return false;
  return !isSpace(bytes[start] as number) && !isSpace(bytes[end - 1] as number);
}

function isLowerToken(byte: number): boolean {
  return byte !== 0 && TOKEN[byte] === byte;
}

function isSpace(byte: number): boolean {
  return byte === SP || byte === HTAB;
}

const NOTHING = new Uint8Array(0);
