/**
 * Path templates such as `/users/{user}/orders/{order}`: a variable is one segment, `*` any one segment, a `**` at the end all that follow.
 * Segments are compared and read percent-decoded, so that no spelling of one value makes another.
 */
import { decodePercent, trimOws } from "./text.ts";

export interface PathTemplate {
  readonly variables: readonly string[];
  /** The value of a variable in a path (without query); undefined when the path does not fit. */
  variable(path: string, name: string): string | undefined;
}

/** @throws RangeError on a template that cannot be read */
export function compilePathTemplate(template: string): PathTemplate {
  if (!template.startsWith("/")) throw new RangeError("a path template starts with /");
  const segments = template.slice(1).split("/");
  const open = segments.at(-1) === "**";
  if (open) segments.pop();
  const variables = segments.map((segment) => {
    const variable = /^\{([A-Za-z_][A-Za-z0-9_-]*)\}$/.exec(segment)?.[1] ?? "";
    if (variable === "" && segment !== "*" && /[{}*]/.test(segment)) {
      throw new RangeError(`"${segment}" is neither a plain segment, {name}, * nor a closing **`);
    }
    return variable;
  });
  const named = variables.filter((name) => name !== "");
  if (new Set(named).size !== named.length) throw new RangeError("a variable may appear once");
  return new SegmentTemplate(segments, variables, open);
}

class SegmentTemplate implements PathTemplate {
  readonly variables: readonly string[];
  readonly #segments: readonly string[];
  readonly #open: boolean;

  constructor(segments: readonly string[], variables: readonly string[], open: boolean) {
    this.variables = variables;
    this.#segments = segments;
    this.#open = open;
  }

  variable(path: string, name: string): string | undefined {
    let value: string | undefined;
    let start = 1;
    for (let i = 0; i < this.#segments.length; i++) {
      if (start > path.length) return undefined;
      const slash = path.indexOf("/", start);
      const end = slash === -1 ? path.length : slash;
      const segment = trimOws(decodePercent(path.slice(start, end)));
      if (this.variables[i] === name) value = segment;
      else if (this.variables[i] === "" && this.#segments[i] !== "*" && this.#segments[i] !== segment) return undefined;
      start = end + 1;
    }
    return this.#open || start > path.length ? value : undefined;
  }
}
