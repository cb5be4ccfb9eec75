/** Files of this room that are run by themselves, as a thread or as a process. They lie beside this one, as sources and as built: see test/tools/release.ts. */

/** `.ts` of sources, `.js` of what was built of them. */
const SUFFIX = import.meta.url.slice(import.meta.url.lastIndexOf("."));

export function entryUrl(entry: "worker-main" | "steering/main"): URL {
  return new URL(`./${entry}${SUFFIX}`, import.meta.url);
}
