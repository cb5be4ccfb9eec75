import { describe, expect, it } from "vitest";
import { secretBinding, userBinding } from "../core/ir/index.ts";
import { BoundSecrets, BoundTokens } from "./egress-secrets.ts";
import { MIN_TOKEN_CHARS } from "./env.ts";

const attempt = (user: string, password: string) => ({ peer: "", user, password, known: undefined });

describe("BoundSecrets", () => {
  it("finds a secret by the name of its binding, and nothing that is not a text of its own", () => {
    const secrets = new BoundSecrets({ SECRET_SHOP_EU_STRIPE_API_KEY: "sk\n", SECRET_SHOP_EMPTY_KEY: "", SECRET_A_B_C: 1 });
    expect(secrets.value("shop-eu", "stripe", "api.key")).toBe("sk");
    expect(secrets.value("shop", "empty", "key")).toBeUndefined();
    expect(secrets.value("a", "b", "c")).toBeUndefined();
    expect(secrets.value("a", "b", "d")).toBeUndefined();
    expect(secretBinding({ namespace: "a", name: "b", key: "é_1" })).toBe("SECRET_A_B___1");
    expect(userBinding("batch.1")).toBe("PROXY_TOKEN_BATCH_1");
  });
});

describe("BoundTokens", () => {
  const token = "x".repeat(MIN_TOKEN_CHARS);
  const tokens = new BoundTokens({ PROXY_TOKEN_BATCH: `${token}\n`, PROXY_TOKEN_SHORT: "guess", PROXY_TOKEN_EMPTY: "" });

  it("takes a user's whole token", async () => {
    expect(await tokens.check(attempt("batch", token))).toBe("valid");
  });

  it.each([
    ["batch", `${token}x`],
    ["batch", token.slice(1)],
    ["batch", ""],
    ["other", token],
    ["other", "no user has this token"],
    ["short", "guess"],
    ["empty", ""],
    ["toString", token],
  ])("takes nothing else: %s with %s", async (user, password) => {
    expect(await tokens.check(attempt(user, password))).toBe("wrong");
  });
});
