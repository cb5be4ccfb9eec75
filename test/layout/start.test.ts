/** What a gateway's threads load before they serve: what only some gateways need is loaded when it is needed, for a gateway may be one of many on a machine. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Metafile } from "esbuild";
import { beforeAll, expect, test } from "vitest";
import { buildGateway } from "../tools/release.ts";

let metafile: Metafile;
beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "tidegate-start-"));
  metafile = await buildGateway(directory);
  return () => rmSync(directory, { recursive: true, force: true });
}, 60_000);

/** Files and modules of Node's own that come with `entry`, whether or not they are needed. */
function loadedWith(entry: string): readonly string[] {
  const { outputs } = metafile;
  const first = Object.keys(outputs).find((path) => outputs[path]?.entryPoint === entry);
  const reached = new Set(first === undefined ? [] : [first]);
  const loaded = new Set<string>();
  for (const path of reached) {
    for (const input of Object.keys(outputs[path]?.inputs ?? {})) loaded.add(input);
    for (const { path: target, kind, external } of outputs[path]?.imports ?? []) {
      if (kind === "dynamic-import") continue;
      if (external) loaded.add(target);
      else reached.add(target);
    }
  }
  return [...loaded];
}

/** gRPC takes 6 MB with what it brings along; Node's HTTP, imported by name, 16 MB with its fetch and WebSocket clients. */
const LATER = /^node_modules\/(@grpc|protobufjs|@bufbuild|yaml|koffi)\/|^koffi$|^node:http2?$|^https?2?$/;

test.each(["gateway/node/main.ts", "gateway/node/worker-main.ts"])("%s starts without what not every gateway needs", (entry) => {
  const loaded = loadedWith(entry);
  expect(loaded).toContain("gateway/node/data-plane.ts");
  expect(loaded.filter((path) => LATER.test(path))).toEqual([]);
});
