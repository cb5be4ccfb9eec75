/**
 * Tables by which keys find endpoints: a ring and maglev. Both hold numbers of members, so clusters with the same endpoints share one.
 *
 * When one of N endpoints goes, a ring moves its keys alone: the places of the others do not depend on it. Maglev moves those and a few more,
 * spreads more evenly, and finds in one step.
 */
import { hash32, spread } from "./hash.ts";

/** A member as the tables know it. */
export interface HashMember {
  /** `address:port`. */
  readonly name: string;
  /** Positive. */
  readonly weight: number;
}

/** Which member a hash leads to. */
export interface HashTable {
  memberAt(hash: number): number;
  /** The table of some of its members. @param kept their numbers, ascending. @param members the same ones */
  restrictedTo(kept: readonly number[], members: readonly HashMember[]): HashTable;
}

export type HashKind = "ring-hash" | "maglev";

/** Most places of a ring, about: with very many members or very unequal weights all get fewer than they should. */
export const MAX_RING_PLACES = 1_048_576;

/** @param size of a ring the fewest places, of maglev all: a prime. @param members at least one */
export function buildHashTable(kind: HashKind, size: number, members: readonly HashMember[]): HashTable {
  return kind === "maglev" ? new MaglevTable(size, members) : makeRing(size, members);
}

/** Places on a circle of 2^32; a key goes to the next one. */
class Ring implements HashTable {
  readonly #hashes: Uint32Array;
  readonly #members: Uint16Array;

  /** @param hashes of the places, ascending. @param members whose places they are */
  constructor(hashes: Uint32Array, members: Uint16Array) {
    this.#hashes = hashes;
    this.#members = members;
  }

  memberAt(hash: number): number {
    const hashes = this.#hashes;
    let low = 0;
    let high = hashes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((hashes[middle] as number) < hash) low = middle + 1;
      else high = middle;
    }
    return this.#members[low === hashes.length ? 0 : low] as number;
  }

  /** The others' places stay where they are, so nothing is sorted. */
  restrictedTo(kept: readonly number[]): HashTable {
    const numbers = new Int32Array(MEMBERS).fill(-1);
    for (const [number, member] of kept.entries()) numbers[member] = number;
    const hashes = new Uint32Array(this.#hashes.length);
    const members = new Uint16Array(this.#members.length);
    let count = 0;
    for (let i = 0; i < hashes.length; i++) {
      const number = numbers[this.#members[i] as number] as number;
      if (number === -1) continue;
      hashes[count] = this.#hashes[i] as number;
      members[count++] = number;
    }
    return new Ring(hashes.subarray(0, count), members.subarray(0, count));
  }
}

function makeRing(fewest: number, members: readonly HashMember[]): Ring {
  const counts = placesOf(fewest, members);
  const total = counts.reduce((sum, count) => sum + count, 0);
  // Hash and member in one number, so that a typed array sorts them.
  const places = new Float64Array(total);
  let at = 0;
  for (const [i, member] of members.entries()) {
    const base = hash32(member.name);
    const count = counts[i] ?? 0;
    for (let copy = 1; copy <= count; copy++) places[at++] = spread(base ^ Math.imul(copy, COPY_STEP)) * MEMBERS + i;
  }
  places.sort();
  const hashes = new Uint32Array(total);
  const owners = new Uint16Array(total);
  for (let i = 0; i < total; i++) {
    const place = places[i] as number;
    hashes[i] = Math.floor(place / MEMBERS);
    owners[i] = place % MEMBERS;
  }
  return new Ring(hashes, owners);
}

/** 2^32 by the golden ratio: copies of one member come out apart. */
const COPY_STEP = 0x9e3779b1;
/** More members than a cluster may have (decode's endpointsPerCluster); a member's number fits in 16 bits. */
const MEMBERS = 65_536;

/** The lightest has half of the fewest places, so that two members make a ring, and no member's places depend on how many others there are. */
function placesOf(fewest: number, members: readonly HashMember[]): readonly number[] {
  const lightest = members.reduce((least, { weight }) => Math.min(least, weight), Number.POSITIVE_INFINITY);
  const turns = members.reduce((sum, { weight }) => sum + weight / lightest, 0);
  const each = Math.min(Math.ceil(fewest / 2), MAX_RING_PLACES / turns);
  return members.map(({ weight }) => Math.max(1, Math.floor((each * weight) / lightest)));
}

/** Eisenbud et al., "Maglev", NSDI 2016, 3.4; with weights, a member's turn comes as often as its weight says. */
class MaglevTable implements HashTable {
  readonly #places: Uint16Array;

  constructor(size: number, members: readonly HashMember[]) {
    const places = new Uint16Array(size);
    const taken = new Uint8Array(size);
    const heaviest = members.reduce((most, { weight }) => Math.max(most, weight), 0);
    const walks = members.map(({ name, weight }) => ({
      at: hash32(name) % size,
      step: size > 1 ? (hash32(name, STEP_SEED) % (size - 1)) + 1 : 1,
      turn: weight / heaviest,
      due: 0,
    }));
    for (let filled = 0, round = 1; filled < size; round++) {
      for (let i = 0; i < walks.length && filled < size; i++) {
        const walk = walks[i] as (typeof walks)[number];
        if (round * walk.turn < walk.due) continue;
        walk.due += 1;
        while (taken[walk.at] === 1) walk.at = (walk.at + walk.step) % size;
        taken[walk.at] = 1;
        places[walk.at] = i;
        filled++;
      }
    }
    this.#places = places;
  }

  memberAt(hash: number): number {
    return this.#places[hash % this.#places.length] as number;
  }

  restrictedTo(_kept: readonly number[], members: readonly HashMember[]): HashTable {
    return new MaglevTable(this.#places.length, members);
  }
}

const STEP_SEED = 0x5bd1e995;

/** What a table takes once it is built. */
export function hashTableBytes(kind: HashKind, size: number, members: readonly HashMember[]): number {
  if (kind === "maglev") return size * Uint16Array.BYTES_PER_ELEMENT;
  const places = placesOf(size, members).reduce((sum, count) => sum + count, 0);
  return places * (Uint32Array.BYTES_PER_ELEMENT + Uint16Array.BYTES_PER_ELEMENT);
}

/** A table that is built when it is first needed, or beside the traffic before that. */
class PlannedTable implements HashTable {
  readonly #make: () => HashTable;
  #made: HashTable | undefined;

  constructor(make: () => HashTable) {
    this.#make = make;
  }

  build(): HashTable {
    this.#made ??= this.#make();
    return this.#made;
  }

  memberAt(hash: number): number {
    return (this.#made ?? this.build()).memberAt(hash);
  }

  restrictedTo(kept: readonly number[], members: readonly HashMember[]): HashTable {
    return this.build().restrictedTo(kept, members);
  }
}

/** All tables of one snapshot together, bytes. */
export const MAX_HASH_TABLE_BYTES = 128 * 1024 * 1024;

/** The tables of a snapshot; those of the one before are taken over where the endpoints are the same. */
export class HashTables {
  #previous: HashTables | undefined;
  readonly #tables = new Map<string, PlannedTable>();
  #bytes = 0;

  constructor(previous: HashTables | undefined) {
    this.#previous = previous;
  }

  /** Of all tables, built or not. */
  get bytes(): number {
    return this.#bytes;
  }

  /** For compiling: what it makes is kept as long as the snapshot. */
  of(kind: HashKind, size: number, members: readonly HashMember[]): HashTable {
    const known = this.find(kind, size, members);
    if (known !== undefined) return known;
    const before = this.#previous?.find(kind, size, members);
    const table = before ?? new PlannedTable(() => buildHashTable(kind, size, members));
    this.#tables.set(keyOf(kind, size, members), table);
    this.#bytes += hashTableBytes(kind, size, members);
    return table;
  }

  find(kind: HashKind, size: number, members: readonly HashMember[]): PlannedTable | undefined {
    return this.#tables.get(keyOf(kind, size, members));
  }

  /** The snapshot compiles: its tables are built, and what was not taken over from the one before is let go. */
  settle(): void {
    for (const table of this.#tables.values()) table.build();
    this.#previous = undefined;
  }
}

function keyOf(kind: HashKind, size: number, members: readonly HashMember[]): string {
  return `${kind} ${size} ${members.map(({ name, weight }) => `${name}*${weight}`).join(" ")}`;
}
