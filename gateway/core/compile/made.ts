import type { FieldMatch, ForwardAction, RetryPolicy, StringMatch } from "../ir/index.ts";
import type { Issue } from "../result.ts";
import type { FieldTest, StringTest } from "./string.ts";
import type { CompiledForward, CompiledRetry } from "./tables.ts";

/**
 * What was made already while one snapshot is compiled. Decoding gives equal parts of a chunk as one object, so most are found by
 * identity. Only what had no issue is kept: each place reports its own.
 */
export interface Made {
  readonly methods: Map<StringMatch, StringTest>;
  readonly fields: Map<readonly FieldMatch[], readonly FieldTest[]>;
  readonly retries: Map<RetryPolicy, CompiledRetry>;
  /** Those that are the same whatever route they stand in. */
  readonly forwards: Map<ForwardAction, CompiledForward>;
  /** By the names, joined by line breaks: no field name has one. */
  readonly nameSets: Map<string, ReadonlySet<string>>;
}

export function nothingMade(): Made {
  return { methods: new Map(), fields: new Map(), retries: new Map(), forwards: new Map(), nameSets: new Map() };
}

/** Puts `place` in front of the paths of all issues since there were `from`. It costs nothing where there are none. */
export function within(issues: Issue[], from: number, place: string): void {
  for (let i = from; i < issues.length; i++) {
    const issue = issues[i];
    if (issue !== undefined) issues[i] = { path: place + issue.path, problem: issue.problem };
  }
}
