import { expect, test } from "vitest";
import { makeKey, makeRoot } from "../test/support/snapshots.ts";
import { DEFAULT_MESH_CONFIG } from "./config/index.ts";
import type { KeyRing } from "./snapshot/index.ts";
import { trustProblems } from "./trust-problems.ts";

async function ring(): Promise<KeyRing> {
  const key = await makeKey();
  const root = await makeRoot({ root: [await makeKey()], online: [key] });
  return { root, chain: [root], roots: [], pin: root.hash, signers: [key] } as KeyRing;
}

test("a mesh that asks for what the trust root gives has no problem", async () => {
  expect(trustProblems({ ...DEFAULT_MESH_CONFIG, trustDomain: "mesh.test" }, await ring(), [])).toEqual([]);
});

test("another trust domain and higher thresholds are told, each with the remedy or the numbers", async () => {
  const { signatures } = DEFAULT_MESH_CONFIG;
  const mesh = {
    ...DEFAULT_MESH_CONFIG,
    trustDomain: "other.test",
    signatures: { ...signatures, routes: { narrowing: 2, widening: 2 }, egress: { narrowing: 1, widening: 3 } },
  };
  const problems = trustProblems(mesh, await ring(), []);
  expect(problems.map(({ severity, message }) => `${severity}: ${message}`)).toEqual([
    "warning: spec.trustDomain is other.test, the trust root speaks for mesh.test; make keys for it (tidegate keys init)",
    "warning: spec.signatures.routes.narrowing asks for 2 signatures, the trust root for 1",
    "warning: spec.signatures.egress.widening asks for 3 signatures, the trust root for 1",
  ]);
});
