/** The verifier in workerd: every forgery that Node refuses, a hostile relay cannot bring past it there either, and for the same reason. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { acceptSnapshot, verifyManifest } from "../../gateway/core/ir/index.ts";
import { CHUNK_FORGERIES, chunks, editedChunks, FORGERIES, keys, type Reader, signed } from "../support/forgeries.ts";
import { freePort } from "../support/gateway.ts";
import { bytesByHash, contextOf, makeRoot, pinOf, rootDocument, signRoot } from "../support/snapshots.ts";
import type { VerdictRequest } from "../support/verdict.ts";
import { startWorkerd } from "../support/workerd.ts";
import type { Running } from "../tools/processes.ts";

const directory = mkdtempSync(join(tmpdir(), "tidegate-verifier-"));
let workerd: Running;
let port: number;

beforeAll(async () => {
  port = await freePort();
  workerd = await startWorkerd(directory, {
    workers: [{ name: "verifier", entry: "test/edge/workers/verifier.ts", bindings: {} }],
    sockets: [{ name: "http", address: `127.0.0.1:${port}`, service: "verifier" }],
  });
});
afterAll(async () => {
  await workerd?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

async function inWorkerd(manifest: Uint8Array, reader: Reader = {}, content?: ReadonlyMap<string, Uint8Array>): Promise<string> {
  const { root: change, ...rest } = reader;
  const document = rootDocument(keys, change);
  const { root: _root, held: _held, ...context } = contextOf(await makeRoot(keys), rest);
  const request: VerdictRequest = {
    pin: await pinOf(document),
    root: base64(await signRoot(document, keys.root)),
    manifest: base64(manifest),
    context,
    ...(content && { chunks: Object.fromEntries([...content].map(([hash, bytes]) => [hash, base64(bytes)])) }),
  };
  const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: JSON.stringify(request) });
  return await answer.text();
}

async function onNode(manifest: Uint8Array, { root: change, ...rest }: Reader = {}): Promise<string> {
  const verdict = await verifyManifest(manifest, contextOf(await makeRoot(keys, change), rest));
  return verdict.ok ? "accepted" : verdict.error.code;
}

describe("forged manifests", () => {
  it.each(FORGERIES)("$name: $code", async ({ code, jws, reader }) => {
    const manifest = await jws();
    const verdict = await inWorkerd(manifest, reader);
    expect(verdict).toBe(await onNode(manifest, reader));
    expect(verdict).toBe(code);
  });

  it("the good one is accepted, by each algorithm", async () => {
    for (const key of keys.online) expect(await inWorkerd(await signed(undefined, key))).toBe("accepted");
  });
});

describe("forged chunks", () => {
  it.each(CHUNK_FORGERIES)("$name: $code", async ({ code, edit }) => {
    const manifest = await signed();
    const edited = editedChunks(edit);
    const node = await acceptSnapshot(manifest, edited, contextOf(await makeRoot(keys)));
    const verdict = await inWorkerd(manifest, {}, edited);
    expect(verdict).toBe(node.kind === "refused" ? node.refusal.code : node.kind);
    expect(verdict).toBe(code);
  });

  it("the good ones are accepted", async () => {
    expect(await inWorkerd(await signed(), {}, bytesByHash(chunks))).toBe("accepted");
  });
});

it("a trust root other than the pinned one is refused", async () => {
  const { root: _root, held: _held, ...context } = contextOf(await makeRoot(keys));
  const request: VerdictRequest = {
    pin: await pinOf(rootDocument(keys, { expires: 1 })),
    root: base64(await signRoot(rootDocument(keys), keys.root)),
    manifest: base64(await signed()),
    context,
  };
  const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: JSON.stringify(request) });
  expect(await answer.text()).toBe("root: root_pin");
});
