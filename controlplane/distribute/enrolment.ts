/**
 * Who may subscribe: join tokens (short-lived, counted, bound to a pool) and the credentials of enrolled gateways.
 * Only SHA-256 hashes of secrets are stored: both are 32 random bytes, so a plain hash is as good as a slow one.
 *
 * This is the database's only writer, so gateways are read from memory. What was seen of them is written now and then (`flush`): every
 * answer of every gateway passes here, and a crash loses nothing but how long ago one was seen.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import type { SnapshotRef } from "./session.ts";

export interface IssuedToken {
  readonly id: string;
  readonly secret: string;
  readonly pool: string;
  readonly expiresMs: number;
}

export interface EnrolledGateway {
  readonly id: string;
  readonly pool: string;
  readonly enrolledMs: number;
  readonly lastSeenMs: number;
  readonly held: SnapshotRef | undefined;
}

export type EnrolOutcome =
  | { readonly kind: "enrolled"; readonly credential: string; readonly pool: string }
  | { readonly kind: "refused"; readonly reason: string };

interface GatewayRow {
  pool: string;
  enrolledMs: number;
  lastSeenMs: number;
  held: SnapshotRef | undefined;
}

const ID = /^[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?$/;

export class Enrolment {
  readonly #db: DatabaseSync;
  readonly #now: () => number;
  readonly #gateways = new Map<string, GatewayRow>();
  readonly #unwritten = new Set<string>();

  /** @param file database path, or `:memory:`. @param now Unix ms. @throws Error with file and remedy when it cannot be used. */
  constructor(file: string, now: () => number) {
    this.#now = now;
    try {
      this.#db = new DatabaseSync(file);
      this.#prepare();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${file}: ${reason}; restore it, or move it away: gateways then need new join tokens`);
    }
  }

  #prepare(): void {
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      CREATE TABLE IF NOT EXISTS join_token (
        id TEXT PRIMARY KEY, pool TEXT NOT NULL, secret_hash BLOB NOT NULL, expires_ms INTEGER NOT NULL, uses_left INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS gateway (
        id TEXT PRIMARY KEY, pool TEXT NOT NULL, credential_hash BLOB NOT NULL, enrolled_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL,
        held_epoch INTEGER, held_version INTEGER
      ) STRICT;
    `);
    for (const row of this.#db.prepare("SELECT * FROM gateway").all()) {
      const [epoch, version] = [row["held_epoch"], row["held_version"]];
      this.#gateways.set(row["id"] as string, {
        pool: row["pool"] as string,
        enrolledMs: row["enrolled_ms"] as number,
        lastSeenMs: row["last_seen_ms"] as number,
        held: typeof epoch === "number" && typeof version === "number" ? { epoch, version } : undefined,
      });
    }
  }

  /** @param uses how many gateways may enrol with it. */
  issueToken(pool: string, ttlMs: number, uses: number): IssuedToken {
    const token = {
      id: randomBytes(6).toString("hex"),
      secret: randomBytes(32).toString("base64url"),
      pool,
      expiresMs: this.#now() + ttlMs,
    };
    this.#db.prepare("DELETE FROM join_token WHERE expires_ms < ?").run(this.#now());
    this.#db
      .prepare("INSERT INTO join_token (id, pool, secret_hash, expires_ms, uses_left) VALUES (?, ?, ?, ?, ?)")
      .run(token.id, pool, sha256(token.secret), token.expiresMs, uses);
    return token;
  }

  /**
   * A token makes one gateway per use. A gateway that enrols again (its state was lost) gets a fresh credential if the token is for the
   * pool it belongs to; an id can't be taken over from another pool.
   */
  enrol(gatewayId: string, tokenId: string, tokenSecret: string): EnrolOutcome {
    if (!ID.test(gatewayId))
      return refused("gateway id: 1 to 128 of a-z, 0-9, '-', '.', starting and ending with a letter or digit");
    const row = this.#db.prepare("SELECT pool, secret_hash, expires_ms, uses_left FROM join_token WHERE id = ?").get(tokenId);
    const known = row !== undefined && timingSafeEqual(row["secret_hash"] as Uint8Array, sha256(tokenSecret));
    if (!known) return refused("unknown join token: make a new one for this control plane");
    if ((row["expires_ms"] as number) < this.#now()) return refused("the join token has expired: make a new one");
    if ((row["uses_left"] as number) < 1) return refused("the join token is used up: make a new one");
    const pool = row["pool"] as string;
    const before = this.#gateways.get(gatewayId);
    if (before !== undefined && before.pool !== pool) {
      return refused(`gateway id ${gatewayId} belongs to pool ${before.pool}: choose another id, or a token for that pool`);
    }
    const credential = randomBytes(32).toString("base64url");
    const now = this.#now();
    this.#inTransaction(() => {
      this.#db.prepare("UPDATE join_token SET uses_left = uses_left - 1 WHERE id = ?").run(tokenId);
      this.#db
        .prepare(
          `INSERT INTO gateway (id, pool, credential_hash, enrolled_ms, last_seen_ms) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET credential_hash = excluded.credential_hash, enrolled_ms = excluded.enrolled_ms`,
        )
        .run(gatewayId, pool, sha256(credential), now, now);
    });
    this.#gateways.set(gatewayId, { pool, enrolledMs: now, lastSeenMs: now, held: before?.held });
    return { kind: "enrolled", credential, pool };
  }

  /** The gateway that a credential belongs to, or undefined. */
  authenticate(credential: string): { readonly id: string; readonly pool: string } | undefined {
    const row = this.#db.prepare("SELECT id, pool FROM gateway WHERE credential_hash = ?").get(sha256(credential));
    return row && { id: row["id"] as string, pool: row["pool"] as string };
  }

  /** Remembers that a gateway was there, and what it holds. Not written before `flush`. */
  seen(gatewayId: string, held: SnapshotRef | undefined): void {
    const row = this.#gateways.get(gatewayId);
    if (row === undefined) return;
    row.lastSeenMs = this.#now();
    row.held = held ?? row.held;
    this.#unwritten.add(gatewayId);
  }

  /** Writes what was seen since the last time. */
  flush(): void {
    if (this.#unwritten.size === 0) return;
    this.#inTransaction(() => {
      const update = this.#db.prepare("UPDATE gateway SET last_seen_ms = ?, held_epoch = ?, held_version = ? WHERE id = ?");
      for (const id of this.#unwritten) {
        const row = this.#gateways.get(id);
        if (row !== undefined) update.run(row.lastSeenMs, row.held?.epoch ?? null, row.held?.version ?? null, id);
      }
    });
    this.#unwritten.clear();
  }

  /** Takes a gateway's credential away; its open stream is the server's to close. */
  remove(gatewayId: string): boolean {
    this.#gateways.delete(gatewayId);
    return this.#db.prepare("DELETE FROM gateway WHERE id = ?").run(gatewayId).changes > 0;
  }

  /** By pool, then by id. */
  list(): EnrolledGateway[] {
    return [...this.#gateways].map(([id, row]) => ({ id, ...row })).sort((a, b) => order(a.pool, b.pool) || order(a.id, b.id));
  }

  #inTransaction(run: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      run();
      this.#db.exec("COMMIT");
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.flush();
    this.#db.close();
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sha256(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

function refused(reason: string): EnrolOutcome {
  return { kind: "refused", reason };
}
