/** Bindings that hold credentials: those that rules add to requests, and the tokens by which proxy users are known. */
import type { CredentialAttempt, CredentialChecker, CredentialVerdict, Secrets } from "../core/index.ts";
import { secretBinding, userBinding } from "../core/ir/index.ts";
import { MIN_TOKEN_CHARS } from "./env.ts";
import { Secret } from "./secret.ts";

export class BoundSecrets implements Secrets {
  readonly #env: Readonly<Record<string, unknown>>;

  constructor(env: object) {
    this.#env = env as Readonly<Record<string, unknown>>;
  }

  value(namespace: string, name: string, key: string): string | undefined {
    return textOf(this.#env, secretBinding({ namespace, name, key }));
  }
}

/**
 * Tokens instead of passwords: scrypt takes tens of milliseconds of a Worker's CPU time for every guess, and WebCrypto has none. A token is too long
 * to be guessed, so a comparison is enough; that of a user who is not there takes as long.
 */
export class BoundTokens implements CredentialChecker {
  readonly #env: Readonly<Record<string, unknown>>;

  constructor(env: object) {
    this.#env = env as Readonly<Record<string, unknown>>;
  }

  async check({ user, password }: CredentialAttempt): Promise<CredentialVerdict> {
    const token = textOf(this.#env, userBinding(user));
    const known = token !== undefined && token.length >= MIN_TOKEN_CHARS;
    const matches = await new Secret(known ? token : NOBODYS).matches(password);
    return known && matches ? "valid" : "wrong";
  }
}

const NOBODYS = "no user has this token";

/** Without the line end that `echo` leaves behind. */
function textOf(env: Readonly<Record<string, unknown>>, binding: string): string | undefined {
  const value = Object.hasOwn(env, binding) ? env[binding] : undefined;
  return typeof value === "string" && value !== "" ? value.replace(/\r?\n$/, "") : undefined;
}
