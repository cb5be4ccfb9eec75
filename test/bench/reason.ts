/** Why something was not measured, on one line, as tables and progress have it. */

const MAX_LENGTH = 400;

export function reasonOf(error: unknown): string {
  const text = chainOf(error).join(": ").replace(/\s+/g, " ").trim();
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH)}…`;
}

/** What it says, and what caused it: `fetch failed` alone tells nobody anything. */
function chainOf(error: unknown): readonly string[] {
  if (!(error instanceof Error)) return [String(error)];
  return [error.message, ...(error.cause === undefined ? [] : chainOf(error.cause))];
}
