/** Up to so many names, comparing all with all is faster than a set of them, and leaves nothing behind. */
const FEW = 16;
const NONE: readonly number[] = [];

/** The places of items whose name stands at an earlier place, too. */
export function repeated<T>(items: readonly T[], nameOf: (item: T) => string): readonly number[] {
  return items.length > FEW ? repeatedOfMany(items, nameOf) : repeatedOfFew(items, nameOf);
}

function repeatedOfFew<T>(items: readonly T[], nameOf: (item: T) => string): readonly number[] {
  let found = NONE;
  for (let i = 1; i < items.length; i++) {
    const name = nameOf(items[i] as T);
    for (let j = 0; j < i; j++) {
      if (nameOf(items[j] as T) !== name) continue;
      found = [...found, i];
      break;
    }
  }
  return found;
}

function repeatedOfMany<T>(items: readonly T[], nameOf: (item: T) => string): readonly number[] {
  const seen = new Set<string>();
  const found: number[] = [];
  for (let i = 0; i < items.length; i++) {
    const before = seen.size;
    if (seen.add(nameOf(items[i] as T)).size === before) found.push(i);
  }
  return found;
}
