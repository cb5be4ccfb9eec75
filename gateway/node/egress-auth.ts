/**
 * Proxy passwords against scrypt hashes. A check takes tens of milliseconds of one core, so checks queue, what was right is remembered for a
 * while (under a keyed hash, never the password), and who keeps guessing is not served. An unknown user costs as much as a wrong password.
 */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import type { Clock, CredentialAttempt, CredentialChecker, CredentialVerdict } from "../core/index.ts";

export interface ScryptHash {
  /** Cost, a power of two. */
  readonly n: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Bounds of what a hash may ask for: memory is 128 * N * r bytes. */
export const MAX_SCRYPT_N = 2 ** 17;
export const MAX_SCRYPT_MEMORY_BYTES = 128 * 1024 * 1024;

/** Reads `scrypt$N$r$p$<salt base64>$<hash base64>`; undefined when it is anything else or asks for too much. */
export function parseScryptHash(text: string): ScryptHash | undefined {
  const match = /^scrypt\$([0-9]{1,6})\$([0-9]{1,2})\$([0-9]{1,2})\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})$/.exec(text);
  if (match === null) return undefined;
  const [n, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const salt = Buffer.from(match[4] ?? "", "base64");
  const hash = Buffer.from(match[5] ?? "", "base64");
  const powerOfTwo = n >= 2 && (n & (n - 1)) === 0;
  if (!powerOfTwo || n > MAX_SCRYPT_N || r < 1 || p < 1 || p > 16 || 128 * n * r > MAX_SCRYPT_MEMORY_BYTES) return undefined;
  return salt.length >= 8 && hash.length >= 16 && hash.length <= 64 ? { n, r, p, salt, hash } : undefined;
}

const DEFAULT_PARAMETERS = { n: 2 ** 14, r: 8, p: 1 };
const HASH_BYTES = 32;

/** What to write down for a password (RFC 7914; N 16384, r 8, p 1, 16 bytes of salt). */
export async function scryptHash(password: string, salt: Buffer = randomBytes(16)): Promise<string> {
  const { n, r, p } = DEFAULT_PARAMETERS;
  const hash = await derive(password, { n, r, p, salt, hash: Buffer.alloc(HASH_BYTES) });
  return `scrypt$${n}$${r}$${p}$${salt.toString("base64")}$${hash.toString("base64")}`;
}

function derive(password: string, { n, r, p, salt, hash }: ScryptHash): Promise<Buffer> {
  const options = { N: n, r, p, maxmem: 2 * MAX_SCRYPT_MEMORY_BYTES };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, hash.length, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

export interface ScryptCheckerOptions {
  readonly clock: Clock;
  /** Checks that run at once; each takes one thread of libuv's pool. Default 2. */
  readonly maxRunning?: number;
  /** Checks that wait; one more is `overloaded`. Default 64. */
  readonly maxWaiting?: number;
  /** How long a right password is remembered. Default 5 minutes. */
  readonly rememberMs?: number;
  /** Right passwords remembered. Default 1,024. */
  readonly maxRemembered?: number;
  /** Wrong passwords from one address within a minute; one more is `throttled`. Default 20. */
  readonly maxFailuresPerMinute?: number;
}

const FAILURE_WINDOW_MS = 60_000;
/** Addresses whose failures are counted; the one that failed longest ago is forgotten first. */
const MAX_COUNTED_PEERS = 4_096;

export class ScryptChecker implements CredentialChecker {
  readonly #clock: Clock;
  readonly #limits: Required<Omit<ScryptCheckerOptions, "clock">>;
  /** Known to nobody: what is remembered under it tells nothing about a password. */
  readonly #secret = randomBytes(32);
  readonly #nobody: ScryptHash = { ...DEFAULT_PARAMETERS, salt: randomBytes(16), hash: randomBytes(HASH_BYTES) };
  readonly #remembered = new Map<string, number>();
  readonly #failures = new Map<string, { sinceMs: number; count: number }>();
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(options: ScryptCheckerOptions) {
    const { clock, ...limits } = options;
    this.#clock = clock;
    const defaults = { maxRunning: 2, maxWaiting: 64, rememberMs: 300_000, maxRemembered: 1_024, maxFailuresPerMinute: 20 };
    this.#limits = { ...defaults, ...limits };
  }

  check(attempt: CredentialAttempt): CredentialVerdict | Promise<CredentialVerdict> {
    const key = this.#keyOf(attempt);
    const untilMs = this.#remembered.get(key);
    if (untilMs !== undefined && untilMs > this.#clock.now()) return "valid";
    this.#remembered.delete(key);
    if (this.#failuresOf(attempt.peer) >= this.#limits.maxFailuresPerMinute) return "throttled";
    if (this.#running >= this.#limits.maxRunning && this.#queue.length >= this.#limits.maxWaiting) return "overloaded";
    return this.#verify(attempt, key);
  }

  async #verify(attempt: CredentialAttempt, key: string): Promise<CredentialVerdict> {
    await this.#turn();
    try {
      const known = attempt.known === undefined ? undefined : parseScryptHash(attempt.known.passwordHash);
      const expected = known ?? this.#nobody;
      const derived = await derive(attempt.password, expected);
      const equal = timingSafeEqual(derived, expected.hash);
      if (equal && known !== undefined) {
        this.#remember(key);
        return "valid";
      }
      this.#countFailure(attempt.peer);
      return "wrong";
    } catch {
      return "overloaded";
    } finally {
      this.#running -= 1;
      this.#queue.shift()?.();
    }
  }

  #turn(): Promise<void> | undefined {
    if (this.#running < this.#limits.maxRunning) {
      this.#running += 1;
      return undefined;
    }
    return new Promise((resolve) => {
      this.#queue.push(() => {
        this.#running += 1;
        resolve();
      });
    });
  }

  /** A changed hash makes another key, so a password that was changed is forgotten with it. */
  #keyOf({ user, password, known }: CredentialAttempt): string {
    const mac = createHmac("sha256", this.#secret);
    for (const part of [user, known?.passwordHash ?? "", password]) mac.update(`${Buffer.byteLength(part)}:${part}`);
    return mac.digest("base64");
  }

  #remember(key: string): void {
    evictOldest(this.#remembered, this.#limits.maxRemembered);
    this.#remembered.set(key, this.#clock.now() + this.#limits.rememberMs);
  }

  #failuresOf(peer: string): number {
    const entry = this.#failures.get(peer);
    return entry === undefined || this.#clock.now() - entry.sinceMs > FAILURE_WINDOW_MS ? 0 : entry.count;
  }

  #countFailure(peer: string): void {
    const count = this.#failuresOf(peer);
    const sinceMs = count === 0 ? this.#clock.now() : (this.#failures.get(peer)?.sinceMs ?? 0);
    this.#failures.delete(peer);
    evictOldest(this.#failures, MAX_COUNTED_PEERS);
    this.#failures.set(peer, { sinceMs, count: count + 1 });
  }
}

/** Makes room for one more in a map that keeps its entries by age. */
function evictOldest<T>(map: Map<string, T>, max: number): void {
  for (const key of map.keys()) {
    if (map.size < max) return;
    map.delete(key);
  }
}
