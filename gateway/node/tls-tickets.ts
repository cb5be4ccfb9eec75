/**
 * Keys of session tickets. All threads of a gateway make the same ones out of one secret, so that a client may resume at any of them; they change
 * with the hour, and with everything that a session must not outlive.
 *
 * The second is what keeps servers apart: a resumed client is not asked for its certificate again, so a ticket of one server opens nothing at
 * another one, nor at the same one after its authorities or revocation lists have changed.
 */
import { hkdfSync } from "node:crypto";

/** Bytes of the secret that keys are made of. */
export const TICKET_SECRET_BYTES = 32;
/** Tickets older than this may find their key gone; their clients shake hands as if for the first time. */
export const TICKET_PERIOD_MS = 6 * 3_600_000;
/** A session may be resumed for so long. */
export const SESSION_TIMEOUT_S = 300;
/** Name, HMAC key and AES key of 16 bytes each, as the library wants them. */
const TICKET_KEY_BYTES = 48;

/** Which keys hold at a moment. */
export function ticketPeriod(unixMs: number): number {
  return Math.floor(unixMs / TICKET_PERIOD_MS);
}

/** @param session what a session stands for: see ServerMaterial */
export function ticketKeys(secret: Uint8Array, session: string, period: number): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, String(period), `tidegate session tickets ${session}`, TICKET_KEY_BYTES));
}
