import type { StringTest } from "../compile/string.ts";

/** Holds a text against a compiled comparison. Regexes match the whole text, in time linear in its length. */
export function testString(test: StringTest, text: string): boolean {
  switch (test.kind) {
    case "exact":
      return test.ignoreCase ? test.value === text.toLowerCase() : test.value === text;
    case "prefix":
      return (test.ignoreCase ? text.toLowerCase() : text).startsWith(test.value);
    case "suffix":
      return (test.ignoreCase ? text.toLowerCase() : text).endsWith(test.value);
    case "segmentPrefix":
      return text.startsWith(test.value) && (text.length === test.value.length || text.charCodeAt(test.value.length) === SLASH);
    case "regex":
      // A regex that did not compile keeps its tables from ever being used.
      return test.regex?.testExact(text) ?? false;
    case "present":
      return true;
  }
}

const SLASH = 0x2f;
