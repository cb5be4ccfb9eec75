import { describe, expect, it } from "vitest";
import type { CredentialAttempt } from "../core/index.ts";
import { MAX_SCRYPT_MEMORY_BYTES, MAX_SCRYPT_N, parseScryptHash, ScryptChecker, scryptHash } from "./egress-auth.ts";

/** Small, so that a check is quick: the parameters are the hash's own. */
const HASH = "scrypt$16$1$1$AAAAAAAAAAAAAAAAAAAAAA==$BX1rX+WSyX1CKctkQBPnTjw+eQ==";

async function smallHash(password: string): Promise<string> {
  const { scryptSync } = await import("node:crypto");
  const salt = Buffer.alloc(16, 7);
  return `scrypt$16$1$1$${salt.toString("base64")}$${scryptSync(password, salt, 32, { N: 16, r: 1, p: 1 }).toString("base64")}`;
}

class Bench {
  nowMs = 0;
  readonly clock = { now: () => this.nowMs, unixMs: () => 0 };

  attempt(over: Partial<CredentialAttempt> = {}): CredentialAttempt {
    return { peer: "192.0.2.1", user: "payments", password: "secret", known: undefined, ...over };
  }
}

describe("parseScryptHash", () => {
  it("reads what scryptHash writes", async () => {
    const text = await scryptHash("secret");
    expect(parseScryptHash(text)).toMatchObject({ n: 16_384, r: 8, p: 1 });
  });

  it.each([
    "",
    "plain",
    "$2y$10$abcdefghijklmnopqrstuv",
    HASH.replace("$16$", "$15$"),
    HASH.replace("$16$", "$0$"),
    HASH.replace("$16$", `$${2 * MAX_SCRYPT_N}$`),
    HASH.replace("$16$1$", `$${MAX_SCRYPT_N}$${MAX_SCRYPT_MEMORY_BYTES / MAX_SCRYPT_N / 128 + 1}$`),
    HASH.replace("$1$1$", "$0$1$"),
    HASH.replace("$1$1$", "$1$17$"),
    HASH.replace("AAAAAAAAAAAAAAAAAAAAAA==", "AAAA"),
    HASH.replace("BX1rX+WSyX1CKctkQBPnTjw+eQ==", "BX1r"),
    `${HASH}x$y`,
  ])("refuses %j", (text) => {
    expect(parseScryptHash(text)).toBeUndefined();
  });
});

describe("ScryptChecker", () => {
  it("tells right from wrong, remembers the right one for a while, and forgets it with its hash", async () => {
    const bench = new Bench();
    const checker = new ScryptChecker({ clock: bench.clock, rememberMs: 1_000 });
    const known = { name: "payments", passwordHash: await smallHash("secret") };
    expect(await checker.check(bench.attempt({ known }))).toBe("valid");
    expect(checker.check(bench.attempt({ known }))).toBe("valid");
    expect(await checker.check(bench.attempt({ known, password: "guess" }))).toBe("wrong");
    expect(await checker.check(bench.attempt({ known, user: "paymentss", password: "ecret" }))).toBe("wrong");
    expect(checker.check(bench.attempt({ known: { ...known, passwordHash: await smallHash("other") } }))).toBeInstanceOf(Promise);
    bench.nowMs = 1_001;
    const again = checker.check(bench.attempt({ known }));
    expect(again).toBeInstanceOf(Promise);
    expect(await again).toBe("valid");
  });

  it("checks an unknown user and a broken hash like a wrong password", async () => {
    const bench = new Bench();
    const checker = new ScryptChecker({ clock: bench.clock });
    expect(await checker.check(bench.attempt())).toBe("wrong");
    expect(await checker.check(bench.attempt({ known: { name: "payments", passwordHash: "plain" } }))).toBe("wrong");
  });

  it("stops checking for an address that guesses, until a minute has passed; others and remembered ones go on", async () => {
    const bench = new Bench();
    const checker = new ScryptChecker({ clock: bench.clock, maxFailuresPerMinute: 2 });
    const known = { name: "payments", passwordHash: await smallHash("secret") };
    expect(await checker.check(bench.attempt({ known }))).toBe("valid");
    for (const password of ["a", "b"]) expect(await checker.check(bench.attempt({ known, password }))).toBe("wrong");
    expect(checker.check(bench.attempt({ known, password: "c" }))).toBe("throttled");
    expect(checker.check(bench.attempt({ known }))).toBe("valid");
    expect(await checker.check(bench.attempt({ known, password: "c", peer: "192.0.2.2" }))).toBe("wrong");
    bench.nowMs = 60_001;
    expect(await checker.check(bench.attempt({ known, password: "c" }))).toBe("wrong");
  });

  it("runs so many at once, lets so many wait, and serves those in turn", async () => {
    const bench = new Bench();
    const checker = new ScryptChecker({ clock: bench.clock, maxRunning: 1, maxWaiting: 1 });
    const known = { name: "payments", passwordHash: await smallHash("secret") };
    const first = checker.check(bench.attempt({ known }));
    const second = checker.check(bench.attempt({ known }));
    expect(checker.check(bench.attempt({ known }))).toBe("overloaded");
    expect(await first).toBe("valid");
    expect(await second).toBe("valid");
    expect(checker.check(bench.attempt({ known, password: "x" }))).toBeInstanceOf(Promise);
  });

  it("remembers a bounded number", async () => {
    const bench = new Bench();
    const checker = new ScryptChecker({ clock: bench.clock, maxRemembered: 1 });
    const one = { name: "one", passwordHash: await smallHash("1") };
    const two = { name: "two", passwordHash: await smallHash("2") };
    expect(await checker.check(bench.attempt({ user: "one", password: "1", known: one }))).toBe("valid");
    expect(await checker.check(bench.attempt({ user: "two", password: "2", known: two }))).toBe("valid");
    expect(checker.check(bench.attempt({ user: "two", password: "2", known: two }))).toBe("valid");
    expect(checker.check(bench.attempt({ user: "one", password: "1", known: one }))).toBeInstanceOf(Promise);
  });
});
