/**
 * The gateway as it is released: its files and those of its packages in few files of plain JavaScript. Sources run as they are, but each start and each thread
 * then strips them of their types anew and keeps what it did that with: 30 MB and most of the time that a start takes.
 *
 * Names are kept, so that a stack trace in a log can be read; `node --enable-source-maps` shows places in the sources. What is loaded when it is first
 * needed stays in files of its own.
 */
import { join, resolve } from "node:path";
import { build, type Metafile } from "esbuild";

const ROOT = resolve(import.meta.dirname, "..", "..");
const SOURCES = join(ROOT, "gateway", "node");
/** Beside the process's own: `entries.ts` finds them at the same places as among the sources. */
const ENTRIES = ["main.ts", "worker-main.ts", "steering/main.ts"];
/** Native code stays where it was installed. */
const EXTERNAL = ["koffi"];
/** Packages in CommonJS ask for Node's own modules by it. */
const REQUIRE = 'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);';

/** @throws Error with esbuild's messages, each with its place */
export async function buildGateway(directory: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ENTRIES.map((entry) => join(SOURCES, entry)),
    outbase: SOURCES,
    outdir: directory,
    bundle: true,
    splitting: true,
    metafile: true,
    format: "esm",
    platform: "node",
    target: "node26",
    external: EXTERNAL,
    banner: { js: REQUIRE },
    // Comments, too: one sign in them that is not Latin-1 and V8 keeps the whole text with two bytes each.
    minifyWhitespace: true,
    sourcemap: "linked",
    sourcesContent: false,
    legalComments: "linked",
    logLevel: "silent",
  });
  return metafile;
}
