/**
 * The code of RFC 7541 Appendix B, read half a byte at a time.
 *
 * The code is canonical: its lengths alone define it. From them a table is built once in which each inner node of the code's tree has sixteen entries, one
 * for each half byte: the node it leads to, and the symbol that was completed on the way. There is at most one, for no code is shorter than five bits.
 *
 * We never write this code: fields that repeat cost a byte or two each by their index, and for the others the bytes saved are not worth the time.
 */

/** Bits of the code of each symbol 0 to 255 and of EOS, as digits in base 36. */
const LENGTHS =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq" +
  "u";

const EOS = 256;
const SYMBOLS = 257;
/** A full binary tree has one inner node less than leaves. */
const NODES = SYMBOLS - 1;
/** Layout of an entry: the next node's first entry in the low bits, then the symbol. */
const NODE_BITS = 0xff0;
const SYMBOL_SHIFT = 12;
const EMITS = 1 << 20;
const BROKEN = -1;

const TABLE = new Int32Array(NODES * 16);
/** Nodes at which a text may end: fewer than eight bits behind the last symbol, all of them 1, as the start of EOS (RFC 7541 5.2). */
const MAY_END = new Uint8Array(NODES);

build();

/** Decodes `[start, end)` into `into`, which has to have room for 8/5 of it. @returns bytes written, or -1 when it is no such text */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number, into: Uint8Array): number {
  let node = 0;
  let written = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    let entry = TABLE[node | (byte >> 4)] as number;
    if (entry < 0) return -1;
    if (entry >= EMITS) into[written++] = entry >> SYMBOL_SHIFT;
    entry = TABLE[(entry & NODE_BITS) | (byte & 15)] as number;
    if (entry < 0) return -1;
    if (entry >= EMITS) into[written++] = entry >> SYMBOL_SHIFT;
    node = entry & NODE_BITS;
  }
  return MAY_END[node >> 4] === 1 ? written : -1;
}

type Tree = (number | undefined)[][];

/** Inner nodes as pairs: a value below 0 is the leaf of symbol `-1 - value`. */
function tree(): Tree {
  const nodes: Tree = [[]];
  let code = 0;
  for (let length = 1; length <= 30; length++) {
    code *= 2;
    for (let symbol = 0; symbol < SYMBOLS; symbol++) {
      if (Number.parseInt(LENGTHS.charAt(symbol), 36) !== length) continue;
      plant(nodes, code, length, symbol);
      code++;
    }
  }
  return nodes;
}

function plant(nodes: Tree, code: number, length: number, symbol: number): void {
  let node = nodes[0] as (number | undefined)[];
  for (let bit = length - 1; bit > 0; bit--) {
    const side = (code >> bit) & 1;
    let child = node[side];
    if (child === undefined) {
      child = nodes.push([]) - 1;
      node[side] = child;
    }
    node = nodes[child] as (number | undefined)[];
  }
  node[code & 1] = -1 - symbol;
}

function build(): void {
  const nodes = tree();
  for (let node = 0; node < NODES; node++)
    for (let half = 0; half < 16; half++) TABLE[node * 16 + half] = step(nodes, node, half);
  let node = 0;
  for (let ones = 0; ones < 8; ones++) {
    MAY_END[node] = 1;
    node = nodes[node]?.[1] as number;
  }
}

function step(nodes: Tree, from: number, half: number): number {
  let node = from;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const child = nodes[node]?.[(half >> bit) & 1] as number;
    if (child >= 0) {
      node = child;
      continue;
    }
    const symbol = -1 - child;
    // RFC 7541 5.2: EOS in a text is an error.
    if (symbol === EOS) return BROKEN;
    emitted = EMITS | (symbol << SYMBOL_SHIFT);
    node = 0;
  }
  return emitted | (node << 4);
}
