/** One file of JavaScript for a Worker: core and the edge, no codec and no Node. */
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

export interface Bundle {
  readonly code: string;
  readonly bytes: number;
  /** What counts for upload limits. */
  readonly gzipBytes: number;
  /** Files that it is made of, relative to the working directory. */
  readonly inputs: readonly string[];
}

/** @throws Error with esbuild's messages, each with its place */
export async function bundleWorker(entry: string): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*"],
    outfile: "worker.js",
    logLevel: "silent",
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error(`${entry}: nothing was bundled`);
  return {
    code: file.text,
    bytes: file.contents.byteLength,
    gzipBytes: gzipSync(file.contents).byteLength,
    inputs: Object.keys(metafile.inputs),
  };
}
