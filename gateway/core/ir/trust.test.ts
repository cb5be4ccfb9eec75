import { beforeAll, describe, expect, test } from "vitest";
import {
  type Keys,
  makeKey,
  makeRoot,
  NOW_S,
  pinOf,
  rootDocument,
  signManifest,
  signRoot,
  type TestKey,
  utf8,
} from "../../../test/support/snapshots.ts";
import { followRoots, nextRoot, openRoot, ROOT_LIMITS, type RootDocument, requireUnexpired } from "./trust.ts";
import type { RefusalCode } from "./trust-refusal.ts";

let old: Keys;
let fresh: Keys;
let online: TestKey;
let one: RootDocument;
let two: RootDocument;

beforeAll(async () => {
  online = await makeKey();
  old = { root: [await makeKey(), await makeKey("ES256"), await makeKey()], online: [online] };
  fresh = { root: [await makeKey(), await makeKey()], online: [online] };
  const threshold = (keys: Keys) => ({
    ...rootDocument(keys).roles,
    root: { kids: keys.root.map((key) => key.kid), threshold: 2 },
  });
  one = rootDocument(old, { roles: threshold(old) });
  two = rootDocument(fresh, { roles: threshold(fresh), version: 2 });
});

const held = async () => {
  const opened = await openRoot(await signRoot(one, old.root.slice(0, 2)), await pinOf(one));
  if (!opened.ok) throw new Error(opened.error.detail);
  return opened.value;
};

describe("the pinned root", () => {
  test("opens by its pin, signed by its own threshold, however often it is signed", async () => {
    for (const signers of [old.root.slice(0, 2), old.root]) {
      expect(await openRoot(await signRoot(one, signers), await pinOf(one))).toMatchObject({
        ok: true,
        value: { document: { version: 1 } },
      });
    }
  });

  const role = (change: object) => (document: RootDocument) => ({ ...document, roles: { ...document.roles, ...change } });
  const CASES: readonly [string, RefusalCode, (document: RootDocument) => unknown, (() => TestKey[])?][] = [
    ["another one", "root_pin", (document) => ({ ...document, version: 7 })],
    ["signed by too few", "below_threshold", (document) => document, () => [old.root[0]!]],
    ["signed by an online key as well", "signer_outside_role", (document) => document, () => [...old.root, online]],
    ["a threshold above its keys", "invalid_root", (document) => role({ quota: { kids: [online.kid], threshold: 2 } })(document)],
    ["a threshold of none", "invalid_root", (document) => role({ quota: { kids: [online.kid], threshold: 0 } })(document)],
    [
      "a key twice in a role",
      "invalid_root",
      (document) => role({ quota: { kids: [online.kid, online.kid], threshold: 2 } })(document),
    ],
    [
      "a role's key that is not listed",
      "invalid_root",
      (document) => role({ quota: { kids: ["x".repeat(43)], threshold: 1 } })(document),
    ],
    [
      "a root key with another role",
      "invalid_root",
      (document) => role({ quota: { kids: [old.root[0]!.kid], threshold: 1 } })(document),
    ],
    [
      "widening below its threshold",
      "invalid_root",
      (document) => role({ egress: { kids: [online.kid], threshold: 1, wideningThreshold: 0 } })(document),
    ],
    [
      "a private key in it",
      "invalid_root",
      (document) => ({ ...document, keys: document.keys.map((key) => ({ ...key, d: "x" })) }),
    ],
    [
      "one key under two names",
      "invalid_root",
      (document) => ({ ...document, keys: [...document.keys, { ...document.keys[0]!, kid: "y".repeat(43) }] }),
    ],
    [
      "an algorithm that is not its key's",
      "invalid_root",
      (document) => ({ ...document, keys: document.keys.map((key) => ({ ...key, alg: "ES256" })) }),
    ],
    ["an unknown field", "invalid_root", (document) => ({ ...document, comment: "hello" })],
    ["a missing role", "invalid_root", (document) => ({ ...document, roles: { root: document.roles.root } })],
  ];
  test.each(CASES)("is refused with %s: %s", async (_name, code, edit, signers) => {
    const document = edit(one);
    const pin = code === "root_pin" ? await pinOf(one) : await pinOf(document);
    const opened = await openRoot(await signRoot(document, signers?.() ?? old.root), pin);
    expect(opened.ok ? "opened" : opened.error.code).toBe(code);
  });

  test("is refused as a manifest, unread when too long, and with too many signatures", async () => {
    expect(await openRoot(await signManifest(one, old.root), await pinOf(one))).toMatchObject({ error: { code: "wrong_typ" } });
    expect(await openRoot(new Uint8Array(ROOT_LIMITS.maxBytes + 1), "")).toMatchObject({ error: { code: "too_large" } });
    const signature = { protected: "e30", signature: "e30" };
    const many = { payload: "e30", signatures: Array.from({ length: ROOT_LIMITS.maxSignatures + 1 }, () => signature) };
    expect(await openRoot(utf8(JSON.stringify(many)), "")).toMatchObject({ error: { code: "too_many_signatures" } });
    const keys = Array.from({ length: ROOT_LIMITS.maxKeys + 1 }, () => one.keys[0]);
    expect(await openRoot(await signRoot({ ...one, keys }, old.root), "")).toMatchObject({ error: { code: "invalid_root" } });
  });
});

describe("the next root", () => {
  const both = () => [...old.root.slice(0, 2), ...fresh.root];

  test("is accepted when both thresholds signed", async () => {
    expect(await nextRoot(await held(), await signRoot(two, both()))).toMatchObject({
      ok: true,
      value: { document: { version: 2 } },
    });
  });

  const CASES: readonly [string, RefusalCode, (document: RootDocument) => RootDocument, () => readonly TestKey[]][] = [
    ["only the old keys signed", "below_threshold", (document) => document, () => old.root],
    ["only the new keys signed", "below_threshold", (document) => document, () => fresh.root],
    ["one old key of two signed", "below_threshold", (document) => document, () => [old.root[0]!, ...fresh.root]],
    ["one new key of two signed", "below_threshold", (document) => document, () => [...old.root, fresh.root[0]!]],
    ["it skips a version", "root_version", (document) => ({ ...document, version: 3 }), both],
    ["it is the same version again", "root_version", (document) => ({ ...document, version: 1 }), both],
    ["it changes the issuer", "root_issuer", (document) => ({ ...document, iss: "other.test" }), both],
    ["an online key signed too", "signer_outside_role", (document) => document, () => [...both(), online]],
  ];
  test.each(CASES)("is refused when %s: %s", async (_name, code, edit, signers) => {
    const next = await nextRoot(await held(), await signRoot(edit(two), signers()));
    expect(next.ok ? "accepted" : next.error.code).toBe(code);
  });

  test("is refused with an unknown signer, and with an epoch that falls", async () => {
    const stranger = await makeKey();
    expect(await nextRoot(await held(), await signRoot(two, [...both(), stranger]))).toMatchObject({
      error: { code: "unknown_kid" },
    });
    const raised = await makeRoot(old, { epoch: 3 });
    expect(await nextRoot(raised, await signRoot(two, both()))).toMatchObject({ error: { code: "root_epoch" } });
  });
});

describe("a chain of roots", () => {
  const chain = async () => [await signRoot(one, old.root), await signRoot(two, [...old.root, ...fresh.root])];

  test("leads from the pin to the newest, over expired ones", async () => {
    const stale = { ...one, expires: 1 };
    const documents = [await signRoot(stale, old.root), await signRoot(two, [...old.root, ...fresh.root])];
    expect(await followRoots(await pinOf(stale), documents, NOW_S)).toMatchObject({
      ok: true,
      value: { document: { version: 2 } },
    });
  });

  test("ends refused when the newest has expired", async () => {
    expect(await followRoots(await pinOf(one), await chain(), two.expires)).toMatchObject({ error: { code: "root_expired" } });
    expect(requireUnexpired(await held(), one.expires - 1).ok).toBe(true);
  });

  test("is refused out of order, empty, longer than maxChain, or from another pin", async () => {
    const [first, second] = await chain();
    expect(await followRoots(await pinOf(one), [second!, first!], NOW_S)).toMatchObject({ error: { code: "root_pin" } });
    expect(await followRoots(await pinOf(one), [first!, first!], NOW_S)).toMatchObject({ error: { code: "root_version" } });
    expect(await followRoots(await pinOf(one), [], NOW_S)).toMatchObject({ error: { code: "root_pin" } });
    const long = Array.from({ length: ROOT_LIMITS.maxChain + 1 }, () => first!);
    expect(await followRoots(await pinOf(one), long, NOW_S)).toMatchObject({ error: { code: "too_large" } });
  });
});
