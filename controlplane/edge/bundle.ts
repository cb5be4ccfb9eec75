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

/** Most that a gateway's Worker may weigh compressed: isolates start cold all over the world, each with this to read first. */
export const MAX_WORKER_GZIP_BYTES = 250 * 1024;

/** Why the bundle is not to be shipped; undefined: it holds what a Worker needs and no more. `inputs` are paths from the project's root. */
export function bundleProblem({ gzipBytes, inputs }: Pick<Bundle, "gzipBytes" | "inputs">): string | undefined {
  const strangers = inputs.filter((path) =>
    /(^|\/)gateway\/(wire|node)\/|(^|\/)controlplane\/|^node:|^node-built-in-modules:/.test(path),
  );
  if (strangers.length > 0) return `the Worker's bundle holds what only Node has a use for: ${strangers.join(", ")}`;
  if (gzipBytes > MAX_WORKER_GZIP_BYTES) {
    return `the Worker's bundle has ${gzipBytes} bytes compressed, of at most ${MAX_WORKER_GZIP_BYTES}`;
  }
  return undefined;
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
