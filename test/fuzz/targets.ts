/** Finds the targets: every file in `targets/`. */
import { readdir } from "node:fs/promises";
import type { FuzzTarget } from "./target.ts";

export async function loadTargets(): Promise<readonly FuzzTarget[]> {
  const directory = new URL("./targets/", import.meta.url);
  const files = (await readdir(directory)).filter((file) => file.endsWith(".ts")).sort();
  return Promise.all(
    files.map(async (file) => {
      const module = (await import(new URL(file, directory).href)) as { readonly target?: FuzzTarget };
      if (module.target === undefined) throw new TypeError(`test/fuzz/targets/${file} exports no \`target\``);
      return module.target;
    }),
  );
}
