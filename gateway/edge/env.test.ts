import { describe, expect, test } from "vitest";
import { MIN_TOKEN_CHARS, readIngress, readSite } from "./env.ts";
import { Secret } from "./secret.ts";

const GOOD = {
  SITE: "europe",
  AUDIENCE: "edge-eu",
  TRUST_ROOT: "ZGyaOJvR1I1q9rB0rVJFNWpIydPpfEkFdH1hK0mD2x8",
  SITE_HOST: "edge-eu.example.com",
  RELAY: { idFromName: () => undefined },
  RELAY_TOKEN: "t".repeat(MIN_TOKEN_CHARS),
};

const problemsOf = (env: object): readonly string[] => {
  const read = readIngress(env);
  return read.ok ? [] : read.error.map(({ path, problem }) => `${path} ${problem}`);
};

describe("bindings", () => {
  test("the least that is needed, with defaults for the rest", () => {
    expect(readIngress(GOOD)).toMatchObject({
      ok: true,
      value: {
        site: "europe",
        audience: "edge-eu",
        siteHost: "edge-eu.example.com",
        floor: undefined,
        clientAddress: "cf-connecting-ip",
        allowIpUpstreams: false,
        bankToken: undefined,
        tunnelToken: undefined,
        passportKey: undefined,
        tunnels: undefined,
      },
    });
  });

  test("all of it", () => {
    const env = { ...GOOD, SNAPSHOT_FLOOR: "3.17", CLIENT_ADDRESS: "x-forwarded-for", ALLOW_IP_UPSTREAMS: "1" };
    expect(readIngress(env)).toMatchObject({
      value: { floor: { epoch: 3, version: 17 }, clientAddress: "x-forwarded-for", allowIpUpstreams: true },
    });
  });

  test("what both Workers are told can be read without the ingress's secrets", () => {
    const { RELAY_TOKEN: _, ...site } = GOOD;
    expect(readSite(site).ok).toBe(true);
  });

  test("nothing is set: every problem at once, with its name", () => {
    expect(problemsOf({}).map((text) => text.split(" ")[0])).toEqual([
      "SITE",
      "AUDIENCE",
      "TRUST_ROOT",
      "SITE_HOST",
      "RELAY",
      "RELAY_TOKEN",
    ]);
  });

  test.each([
    ["SITE", "Europe!"],
    ["AUDIENCE", 7],
    ["TRUST_ROOT", "abc"],
    ["SITE_HOST", "https://edge.example.com/"],
    ["SNAPSHOT_FLOOR", "17"],
    ["RELAY", "SnapshotRelay"],
    ["CLIENT_ADDRESS", "x-real-ip"],
    ["ALLOW_IP_UPSTREAMS", "yes"],
    ["RELAY_TOKEN", "t".repeat(MIN_TOKEN_CHARS - 1)],
    ["BANK_TOKEN", "hunter2-hunter"],
    ["PASSPORT_KEY", '{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"AAAA"}'],
    ["PASSPORT_KEY", "-----BEGIN PRIVATE KEY-----"],
    ["TUNNELS", "TunnelHub"],
  ])("%s %s is refused by name, and its value is not told", (name, value) => {
    const problems = problemsOf({ ...GOOD, [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name} must be `));
    expect(problems[0]).not.toContain(`${value} `);
  });
});

describe("a secret", () => {
  const secret = new Secret("correct horse battery");
  test("is never shown", () => {
    expect(`${secret} ${JSON.stringify({ secret })} ${Object.values(secret).join()}`).not.toContain("horse");
    expect(secret.reveal()).toBe("correct horse battery");
  });
  test("matches itself alone, whatever the lengths", async () => {
    expect(await secret.matches("correct horse battery")).toBe(true);
    for (const other of ["", "correct horse batterz", "correct horse battery ", "correct"])
      expect(await secret.matches(other)).toBe(false);
  });
});
