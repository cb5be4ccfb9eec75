/**
 * Header blocks, from fields to bytes (RFC 7541 6).
 *
 * What repeats is found in the table and costs a byte or two; what does not is written plainly (see huffman.ts). Whatever was written once in full was
 * looked at then: nothing leaves that HTTP/2 does not allow in a field, or that HTTP/1.1 on the far side could take for a line of its own.
 */
import { MeshError } from "../../../core/error.ts";
import { decodeLatin1, type Latin1Decoder, TOKEN, VALUE } from "../../http1/chars.ts";
import type { Output } from "../output.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { FIELD_OVERHEAD_BYTES } from "./entry.ts";
import { AT_ONCE, type KnownName, NAME_COUNT, NAMES, NEVER, ON_REPEAT } from "./names.ts";
import { STATIC_LENGTH, STATIC_TABLE } from "./static-table.ts";

/** Names beyond the known ones that an encoder remembers, apart from those in its table. */
export const MAX_REMEMBERED_NAMES = 64;

const INDEXED = 0x80;
const WITH_INDEXING = 0x40;
const SIZE_UPDATE = 0x20;
const NEVER_INDEXED = 0x10;
const WITHOUT_INDEXING = 0x00;
/** An integer of 32 bits takes no more, with its prefix. */
const INTEGER_BYTES = 6;
const SP = 0x20;
const HTAB = 0x09;
const COLON = 0x3a;

/** What an encoder knows of a name. */
interface Slot {
  readonly name: string;
  /** In the static table; 0: none. */
  readonly index: number;
  readonly policy: number;
  /** Hash of the value that was last written without going into the table. */
  last: number;
  /** Its newest entry, undefined when there is none, and the entry's serial number. */
  value: string | undefined;
  serial: number;
  /** Serial numbers of its other entries by value: few names have any. */
  older: Map<string, number> | undefined;
}

interface Entry {
  readonly size: number;
  readonly slot: Slot;
  readonly value: string;
}

/** `:status` whole, for those in the static table. */
const STATUS_INDEX = new Uint8Array(600);
for (const [index, entry] of STATIC_TABLE.entries()) if (entry?.name === ":status") STATUS_INDEX[Number(entry.value)] = index;

export class HpackEncoder {
  readonly #table: DynamicTable<Entry>;
  readonly #maxBytes: number;
  readonly #decode: Latin1Decoder;
  readonly #known: (Slot | undefined)[] = [];
  readonly #others = new Map<string, Slot>();
  /** The smallest size since the last block; below the table's own or equal: the peer has to be told (RFC 7541 4.2). */
  #lowest = Number.POSITIVE_INFINITY;
  /** Hash of the value that was written last, and where it begins. */
  #hash = 0;
  #valueStart = 0;

  /** `maxBytes`: what we want to use at most. Until the peer says otherwise it grants the default. */
  constructor(maxBytes: number, decode: Latin1Decoder = decodeLatin1) {
    this.#maxBytes = maxBytes;
    this.#decode = decode;
    this.#table = new DynamicTable(DEFAULT_TABLE_BYTES);
    if (maxBytes < DEFAULT_TABLE_BYTES) this.allow(DEFAULT_TABLE_BYTES);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  allow(bytes: number): void {
    const size = Math.min(bytes, this.#maxBytes);
    if (size === this.#table.maxBytes) return;
    this.#lowest = Math.min(this.#lowest, size);
    this.#table.resize(size, forget);
  }

  /** A block was begun and thrown away: what it put into the table the peer will never see, so both begin anew. */
  abandon(): void {
    const { maxBytes } = this.#table;
    this.#table.resize(0, forget);
    this.#table.resize(maxBytes);
    this.#lowest = 0;
  }

  /** To be called before the fields of each block. */
  begin(out: Output): void {
    if (this.#lowest === Number.POSITIVE_INFINITY) return;
    out.reserve(2 * INTEGER_BYTES);
    const { maxBytes } = this.#table;
    if (this.#lowest < maxBytes) writeInteger(out, SIZE_UPDATE, 0x1f, this.#lowest);
    writeInteger(out, SIZE_UPDATE, 0x1f, maxBytes);
    this.#lowest = Number.POSITIVE_INFINITY;
  }

  status(out: Output, status: number): void {
    const index = STATUS_INDEX[status];
    if (index === undefined || status < 100) throw unwritable("the status");
    if (index === 0) {
      this.pseudo(out, ":status", String(status));
      return;
    }
    out.reserve(1);
    out.bytes[out.end++] = INDEXED | index;
  }

  /** `name`: one that RFC 9113 8.3 or RFC 8441 4 defines. */
  pseudo(out: Output, name: ":method" | ":scheme" | ":authority" | ":path" | ":protocol" | ":status", value: string): void {
    this.#write(out, NAMES.get(name), name, value, false);
  }

  /** A field of a list. `isSecret`: whoever wrote it said that it must never be indexed (RFC 7541 6.2.3). */
  field(out: Output, name: string, value: string, isSecret: boolean): void {
    const known = NAMES.get(name);
    if (known !== undefined && known.role !== "field") {
      if (known.role === "pseudo") throw unwritable(`field ${JSON.stringify(name)}`);
      if (known.role === "dropped" || value !== "trailers") return;
    }
    this.#write(out, known, name, value, isSecret);
  }

  /** The field of the list that only the head's meaning gives. */
  contentLength(out: Output, bytes: number): void {
    this.#write(out, CONTENT_LENGTH, "content-length", String(bytes), false);
  }

  #write(out: Output, known: KnownName | undefined, name: string, value: string, isSecret: boolean): void {
    out.reserve(name.length + value.length + 3 * INTEGER_BYTES);
    const slot = known === undefined ? (this.#others.get(name) ?? this.#remember(out, name)) : this.#slot(known, name);
    if (slot.policy === NEVER || isSecret) {
      this.#literal(out, NEVER_INDEXED, 0x0f, slot, value);
      return;
    }
    const fixed = known?.values?.get(value);
    if (fixed !== undefined) {
      out.bytes[out.end++] = INDEXED | fixed;
      return;
    }
    const serial = slot.value === value ? slot.serial : slot.older?.get(value);
    if (serial !== undefined) {
      writeInteger(out, INDEXED, 0x7f, this.#indexOf(serial));
      return;
    }
    this.#unseen(out, slot, value);
  }

  /** A value that is in no table. */
  #unseen(out: Output, slot: Slot, value: string): void {
    const size = slot.name.length + value.length + FIELD_OVERHEAD_BYTES;
    // What takes more than a quarter would push out too much.
    const fits = size <= this.#table.maxBytes >> 2;
    const start = out.end;
    if (fits && slot.policy === AT_ONCE) {
      this.#literal(out, WITH_INDEXING, 0x3f, slot, value);
    } else {
      this.#literal(out, WITHOUT_INDEXING, 0x0f, slot, value);
      const isRepeated = this.#hash === slot.last;
      slot.last = this.#hash;
      if (!fits || !isRepeated) return;
      // Once more, now with indexing: the length of the prefix may differ.
      out.end = start;
      this.#literal(out, WITH_INDEXING, 0x3f, slot, value);
    }
    this.#add(slot, out);
  }

  /** Keeps the value as a text of its own, for the one at hand may be a part of a larger one that would stay in memory with it. */
  #add(slot: Slot, out: Output): void {
    const own = this.#decode(out.bytes, this.#valueStart, out.end);
    const size = slot.name.length + own.length + FIELD_OVERHEAD_BYTES;
    this.#table.makeRoom(size, forget);
    this.#table.add({ size, slot, value: own });
    if (slot.value !== undefined) {
      slot.older ??= new Map();
      slot.older.set(slot.value, slot.serial);
    }
    slot.value = own;
    slot.serial = this.#table.added;
  }

  #indexOf(serial: number): number {
    return STATIC_LENGTH + 1 + this.#table.added - serial;
  }

  #literal(out: Output, form: number, mask: number, slot: Slot, value: string): void {
    const index = slot.index === 0 && slot.value !== undefined ? this.#indexOf(slot.serial) : slot.index;
    writeInteger(out, form, mask, index);
    if (index === 0) {
      writeInteger(out, 0, 0x7f, slot.name.length);
      writeName(out, slot.name);
    }
    // RFC 9113 8.2.1: no white space at the ends; configuration may have put some there.
    const text = isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(value.length - 1)) ? trimmed(value) : value;
    writeInteger(out, 0, 0x7f, text.length);
    this.#valueStart = out.end;
    this.#hash = writeValue(out, text, slot.name);
  }

  #slot(known: KnownName, name: string): Slot {
    let slot = this.#known[known.id];
    if (slot === undefined) {
      while (this.#known.length < NAME_COUNT) this.#known.push(undefined);
      slot = newSlot(name, known.index, known.policy);
      this.#known[known.id] = slot;
    }
    return slot;
  }

  /** Under a text of its own, as values (see `#add`). */
  #remember(out: Output, name: string): Slot {
    const start = out.end;
    writeName(out, name);
    const own = this.#decode(out.bytes, start, out.end);
    out.end = start;
    if (this.#others.size >= MAX_REMEMBERED_NAMES) {
      for (const [old, slot] of this.#others) if (slot.value === undefined) this.#others.delete(old);
    }
    const slot = newSlot(own, 0, ON_REPEAT);
    this.#others.set(own, slot);
    return slot;
  }
}

const DEFAULT_TABLE_BYTES = 4096;
const CONTENT_LENGTH = NAMES.get("content-length");

function newSlot(name: string, index: number, policy: number): Slot {
  return { name, index, policy, last: 0, value: undefined, serial: 0, older: undefined };
}

function forget({ slot, value }: Entry, serial: number): void {
  if (slot.serial === serial) slot.value = undefined;
  else if (slot.older?.get(value) === serial) slot.older.delete(value);
}

/** RFC 7541 5.1. The caller has made room. */
function writeInteger(out: Output, form: number, mask: number, value: number): void {
  const { bytes } = out;
  if (value < mask) {
    bytes[out.end++] = form | value;
    return;
  }
  bytes[out.end++] = form | mask;
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) bytes[out.end++] = (rest & 0x7f) | 0x80;
  bytes[out.end++] = rest;
}

function writeName(out: Output, name: string): void {
  const { bytes } = out;
  let at = out.end;
  // The one pseudo-header field that the static table does not name.
  const from = name === ":protocol" ? 1 : 0;
  if (from === 1) bytes[at++] = COLON;
  for (let i = from; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code === 0 || TOKEN[code] !== code) throw unwritable(`field ${JSON.stringify(name)}`);
    bytes[at++] = code;
  }
  if (name.length === 0) throw unwritable("a field without a name");
  out.end = at;
}

/** @returns a hash of the value, never 0 */
function writeValue(out: Output, value: string, name: string): number {
  const { bytes } = out;
  const { length } = value;
  let at = out.end;
  let hash = length + 1;
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (VALUE[code] !== 1) throw unwritable(`field ${JSON.stringify(name)}`);
    bytes[at++] = code;
    hash = (Math.imul(hash, 31) + code) | 0;
  }
  out.end = at;
  return hash === 0 ? 1 : hash;
}

function trimmed(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, "");
}

function isSpace(code: number): boolean {
  return code === SP || code === HTAB;
}

function unwritable(what: string): MeshError {
  return new MeshError("internal", "local", `${what} holds a byte that must not be sent`);
}
