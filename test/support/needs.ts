/** Tests that need a real program: run where it is or can be installed, skipped by name and reason where not; CI allows no such skip. */
import { ensure, type Part } from "../tools/ensure.ts";

/** Prefix of a skipped test's note, which the closing table of `npm test` shows. */
const NEEDS = "needs:";

export interface Need {
  readonly missing: boolean;
  /** For the test's name: empty when everything is there. */
  readonly note: string;
}

export function needs(...parts: readonly Part[]): Need {
  const reasons = parts.flatMap((part) => {
    const found = ensure(part);
    return found.kind === "missing" ? [found.reason] : [];
  });
  return reasons.length === 0 ? { missing: false, note: "" } : { missing: true, note: ` [${NEEDS} ${reasons.join("; ")}]` };
}
