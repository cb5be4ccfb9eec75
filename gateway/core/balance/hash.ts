/** Hashes of requests and endpoints: 32 bits, the same on every machine, so that all gateways of a pool send a key to the same endpoint. */

/** Murmur3's mixing over the text's UTF-16 units. It spreads; it is no defence against somebody who looks for collisions. */
export function hash32(text: string, seed = 0): number {
  let hash = seed | 0;
  for (let i = 0; i < text.length; i++) {
    let block = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    block = Math.imul((block << 15) | (block >>> 17), 0x1b873593);
    hash ^= block;
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  return spread(hash ^ text.length);
}

/** Murmur3's finalizer: near numbers come out far apart. Also for a second number out of a hash, independent of the first. */
export function spread(hash: number): number {
  let mixed = hash | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Places that a 32-bit hash can have. */
export const HASH_RANGE = 2 ** 32;
