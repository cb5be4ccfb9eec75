/**
 * The request that most requests go out as: a GET without content and with few lines, which nothing here has to end. `fetch` copies what it is given
 * before it returns, and reads a `Request` for less than a dictionary. So there is one for all of them, in which only those lines are changed, from one
 * request to the next, that differ.
 */
import type { ReadonlyFieldList } from "../core/index.ts";
import { comesBefore } from "./fields.ts";
import { isNotSent } from "./sent-fields.ts";

/** With more lines a copy of what came costs less (see `changedInit`). */
export const MAX_PLAIN_LINES = 8;

export class PlainGet {
  /** Nobody is asked for its URL: `fetch` is told another one. */
  readonly #request = new Request("https://unused.invalid/", { redirect: "manual", encodeResponseBody: "manual" });
  readonly #headers = this.#request.headers;
  /** What they say; undefined: it broke off in the middle. */
  #lines: ReadonlyFieldList | undefined = [];

  /**
   * @param lines no longer changed
   * @returns for `fetch`, before anything else is asked of this; undefined: it takes more than this to send them
   * @throws TypeError when the runtime does not take a name or value
   */
  with(lines: ReadonlyFieldList): Request | undefined {
    if (lines.length > MAX_PLAIN_LINES * 2) return undefined;
    const headers = this.#headers;
    const before = this.#lines;
    if (before === undefined || !haveSameNames(before, lines)) {
      if (!isPlain(lines)) return undefined;
      this.#clear();
      for (let i = 0; i < lines.length; i += 2) headers.set(lines[i] as string, lines[i + 1] as string);
    } else {
      this.#lines = undefined;
      for (let i = 0; i < lines.length; i += 2) {
        if (before[i + 1] !== lines[i + 1]) headers.set(lines[i] as string, lines[i + 1] as string);
      }
    }
    this.#lines = lines;
    return this.#request;
  }

  #clear(): void {
    this.#lines = undefined;
    for (const name of [...this.#headers.keys()]) this.#headers.delete(name);
  }
}

function haveSameNames(before: ReadonlyFieldList, lines: ReadonlyFieldList): boolean {
  if (before.length !== lines.length) return false;
  for (let i = 0; i < lines.length; i += 2) if (before[i] !== lines[i]) return false;
  return true;
}

/** No name comes twice, and all are sent. */
function isPlain(lines: ReadonlyFieldList): boolean {
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    if (isNotSent(name) || comesBefore(lines, i, name)) return false;
  }
  return true;
}
