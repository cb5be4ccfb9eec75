/**
 * The configuration in force: what every source says, merged. Each object is accepted or refused by itself; where the newest text of an object is
 * refused, its last good generation stays in force. Readers get an immutable set; a change makes a new one.
 */
import type { FieldPath, Json } from "./documents.ts";
import type { FileReader } from "./files.ts";
import type { AnyResource } from "./kinds/index.ts";
import { type MergedObject, mergeSources } from "./merge.ts";
import { refOf } from "./references.ts";
import { type ObjectRef, type Problem, refKey, type SourceLocation } from "./resource.ts";
import type { Change, HistoryEntry, SqliteStore, StoredObject } from "./sqlite.ts";
import { type CheckedObject, formatPath, type Manifest, type Validation, validateText } from "./validate.ts";

/** Everything that is configured at one moment. */
export interface ConfigSet {
  /** Rises with every change, from 1 at the start of the process. */
  readonly version: number;
  /** What is in force. */
  readonly resources: readonly AnyResource[];
  /** Every object, refused ones included. */
  readonly objects: readonly MergedObject[];
  /** Problems that belong to no object. */
  readonly problems: readonly Problem[];
  /** Place of a field of an object, for problems found later. */
  locate(ref: ObjectRef, path: FieldPath): SourceLocation | undefined;
}

export interface ApplyOptions {
  /** Who asks, for the history. */
  readonly who: string;
  /** Name of the text in messages. Default `api`. */
  readonly file?: string;
  /** Generations that the caller has seen, by `refKey`; 0: must not exist. Another one in force refuses that object. */
  readonly expect?: ReadonlyMap<string, number>;
  readonly defaultNamespace?: string;
}

export interface ObjectOutcome {
  readonly ref: ObjectRef;
  readonly outcome: "created" | "updated" | "unchanged" | "deleted" | "refused" | "missing";
  /** In force after the change. */
  readonly generation: number | undefined;
  readonly problems: readonly Problem[];
}

export interface ApplyOutcome {
  readonly objects: readonly ObjectOutcome[];
  /** What belongs to no object: broken text, unknown kinds. */
  readonly problems: readonly Problem[];
  /** Version of the set that has the change. */
  readonly version: number;
}

/** One field that differs. */
export interface FieldChange {
  readonly path: string;
  readonly before: Json | undefined;
  readonly after: Json | undefined;
}

export interface ObjectDiff {
  readonly ref: ObjectRef;
  readonly change: "created" | "updated" | "unchanged" | "refused";
  readonly fields: readonly FieldChange[];
  readonly problems: readonly Problem[];
}

export interface ConfigStoreOptions {
  readonly persistence: SqliteStore;
  readonly nowMs: () => number;
  readonly files?: FileReader;
}

/** Source of what `apply` brings. */
export const API_ORIGIN = "api";
/** Source of YAML on disk. It wins over the API: what is written down and reviewed beats what was typed. */
export const DIRECTORY_ORIGIN = "directory";
/** First wins. */
const ORIGINS: readonly string[] = [DIRECTORY_ORIGIN, API_ORIGIN];

interface Source {
  /** As last told, in order; each with the resource that is in force. */
  objects: readonly CheckedObject[];
  problems: readonly Problem[];
  /** Last good generation by `refKey`. */
  readonly good: Map<string, StoredObject>;
}

export class ConfigStore {
  private readonly sources = new Map<string, Source>();
  private readonly listeners = new Set<(set: ConfigSet) => void>();
  private readonly persistence: SqliteStore;
  private readonly nowMs: () => number;
  private readonly files: FileReader | undefined;
  private current: ConfigSet;

  constructor({ persistence, nowMs, files }: ConfigStoreOptions) {
    this.persistence = persistence;
    this.nowMs = nowMs;
    this.files = files;
    for (const origin of ORIGINS) this.sources.set(origin, { objects: [], problems: [], good: new Map() });
    for (const stored of persistence.load()) this.source(stored.origin).good.set(keyOf(stored.manifest), stored);
    const api = this.source(API_ORIGIN);
    api.objects = [...api.good.values()].flatMap((stored) => this.revive(stored));
    this.current = this.merge(1);
  }

  /** The set in force. */
  get set(): ConfigSet {
    return this.current;
  }

  /** Calls back after every change with the new set; the answer stops it. */
  subscribe(listener: (set: ConfigSet) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Validates a text with this store's files and clock, without changing anything. */
  validate(text: string, file: string, defaultNamespace?: string): Validation {
    return validateText(text, file, {
      nowMs: this.nowMs(),
      ...(this.files ? { files: this.files } : {}),
      ...(defaultNamespace === undefined ? {} : { defaultNamespace }),
    });
  }

  /** Creates or updates the objects of a text. Bad ones are refused by name, the rest is in force when this returns. Throws when the disk refuses. */
  apply(text: string, options: ApplyOptions): ApplyOutcome {
    const validation = this.validate(text, options.file ?? API_ORIGIN, options.defaultNamespace);
    const source = this.source(API_ORIGIN);
    const changes: Change[] = [];
    const outcomes: ObjectOutcome[] = [];
    const next = new Map(source.objects.map((object) => [refKey(object.ref), object]));
    for (const object of firstOfEach(validation.objects)) {
      const refusal = this.refusal(object, options, validation.objects);
      const held = source.good.get(refKey(object.ref));
      if (refusal.length > 0 || !object.resource || !object.manifest) {
        outcomes.push({
          ref: object.ref,
          outcome: "refused",
          generation: held?.generation,
          problems: [...object.problems, ...refusal],
        });
        continue;
      }
      const { stored, change } = this.renew(API_ORIGIN, object.manifest, object.source, held, object.resource.metadata.createdMs);
      if (change) changes.push({ kind: change, object: stored });
      next.set(refKey(object.ref), withHistory(object, stored));
      outcomes.push({
        ref: object.ref,
        outcome: change === undefined || change === "moved" ? "unchanged" : change,
        generation: stored.generation,
        problems: object.problems,
      });
    }
    this.commit(source, changes, options.who);
    source.objects = [...next.values()];
    if (changes.length > 0) this.publish();
    return { objects: outcomes, problems: validation.problems, version: this.current.version };
  }

  /** Deletes objects of the API. */
  delete(refs: readonly ObjectRef[], { who, expect }: Pick<ApplyOptions, "who" | "expect">): ApplyOutcome {
    const source = this.source(API_ORIGIN);
    const changes: Change[] = [];
    const outcomes = refs.map((ref): ObjectOutcome => {
      const held = source.good.get(refKey(ref));
      if (!held) return { ref, outcome: "missing", generation: undefined, problems: [apiProblem(ref, this.missing(ref))] };
      const stale = this.stale(ref, held.generation, expect);
      if (stale) return { ref, outcome: "refused", generation: held.generation, problems: [stale] };
      changes.push({ kind: "deleted", object: held });
      return { ref, outcome: "deleted", generation: undefined, problems: [] };
    });
    this.commit(source, changes, who);
    const gone = new Set(changes.map(({ object }) => keyOf(object.manifest)));
    source.objects = source.objects.filter((object) => !gone.has(refKey(object.ref)));
    if (changes.length > 0) this.publish();
    return { objects: outcomes, problems: [], version: this.current.version };
  }

  /**
   * Takes a source's whole content. What is not in it any more is deleted; what is refused, or was in a file that cannot be read now, keeps its last
   * good generation.
   */
  replace(origin: string, validation: Validation, who: string): ConfigSet {
    const source = this.source(origin);
    const changes: Change[] = [];
    const seen = new Set<string>();
    const objects = validation.objects.map((object) => {
      const key = refKey(object.ref);
      if (seen.has(key)) return object;
      seen.add(key);
      const held = source.good.get(key);
      if (!object.resource || !object.manifest) return held ? this.keepGood(object, held) : object;
      const { stored, change } = this.renew(origin, object.manifest, object.source, held, object.resource.metadata.createdMs);
      if (change) changes.push({ kind: change, object: stored });
      return withHistory(object, stored);
    });
    for (const [key, held] of source.good) {
      if (seen.has(key)) continue;
      if (validation.problems.some((problem) => mayHide(problem, held))) objects.push(...this.revive(held));
      else changes.push({ kind: "deleted", object: held });
    }
    this.commit(source, changes, who);
    source.objects = objects;
    source.problems = validation.problems;
    this.publish();
    return this.current;
  }

  /** What applying a text would change. */
  diff(
    text: string,
    options: Pick<ApplyOptions, "file" | "defaultNamespace"> = {},
  ): { readonly objects: readonly ObjectDiff[]; readonly problems: readonly Problem[] } {
    const validation = this.validate(text, options.file ?? API_ORIGIN, options.defaultNamespace);
    const objects = validation.objects.map(({ ref, resource, manifest, problems }): ObjectDiff => {
      if (!resource || !manifest) return { ref, change: "refused", fields: [], problems };
      const held = ORIGINS.map((origin) => this.source(origin).good.get(refKey(ref))).find((stored) => stored !== undefined);
      if (!held) return { ref, change: "created", fields: [], problems };
      const fields = diffFields(contentOf(held.manifest), contentOf(manifest), []);
      if (fields.length === 0) return { ref, change: "unchanged", fields, problems };
      const elsewhere = this.heldByDirectory(ref).map((problem) => ({ ...problem, severity: "warning" as const }));
      return { ref, change: "updated", fields, problems: [...problems, ...elsewhere] };
    });
    return { objects, problems: validation.problems };
  }

  /** Changes, newest first. */
  history(ref?: ObjectRef, limit?: number): readonly HistoryEntry[] {
    return this.persistence.history(ref, limit);
  }

  /** An accepted object as it was written. */
  manifest(ref: ObjectRef): Manifest | undefined {
    for (const origin of ORIGINS) {
      const held = this.source(origin).good.get(refKey(ref));
      if (held && this.current.resources.some((resource) => refKey(refOf(resource)) === refKey(ref))) return held.manifest;
    }
    return undefined;
  }

  private source(origin: string): Source {
    const known = this.sources.get(origin);
    if (known) return known;
    const made: Source = { objects: [], problems: [], good: new Map() };
    this.sources.set(origin, made);
    return made;
  }

  /** A stored object as if it had just been read: rules may have become stricter since. */
  private revive(stored: StoredObject): readonly CheckedObject[] {
    const { objects } = this.validate(JSON.stringify(stored.manifest), stored.source.file);
    return objects.map((object) => withHistory({ ...object, source: stored.source, locate: () => stored.source }, stored));
  }

  private keepGood(refused: CheckedObject, held: StoredObject): CheckedObject {
    const [good] = this.revive(held);
    return good?.resource ? { ...refused, resource: good.resource } : refused;
  }

  private renew(
    origin: string,
    manifest: Manifest,
    source: SourceLocation,
    held: StoredObject | undefined,
    createdMs: number,
  ): { readonly stored: StoredObject; readonly change: "created" | "updated" | "moved" | undefined } {
    if (!held) return { stored: { origin, manifest, createdMs, generation: 1, source }, change: "created" };
    if (diffFields(contentOf(held.manifest), contentOf(manifest), []).length === 0) {
      const moved = held.source.file !== source.file;
      return moved ? { stored: { ...held, source }, change: "moved" } : { stored: held, change: undefined };
    }
    return {
      stored: { origin, manifest, createdMs: held.createdMs, generation: held.generation + 1, source },
      change: "updated",
    };
  }

  private refusal({ ref, locate }: CheckedObject, { expect }: ApplyOptions, batch: readonly CheckedObject[]): readonly Problem[] {
    const held = this.source(API_ORIGIN).good.get(refKey(ref));
    const stale = this.stale(ref, held?.generation ?? 0, expect);
    const found: Problem[] = [...(stale ? [stale] : []), ...this.heldByDirectory(ref)];
    if (batch.filter((other) => refKey(other.ref) === refKey(ref)).length > 1) {
      const message = "the text defines the object more than once; keep one";
      found.push({ ...apiProblem(ref, message), source: locate(["metadata", "name"]) });
    }
    if (ref.kind !== "MeshConfig") return found;
    const meshes = [...this.current.resources.map(refOf), ...batch.map((object) => object.ref)].filter(
      ({ kind }) => kind === "MeshConfig",
    );
    const [first] = meshes;
    if (first && refKey(first) !== refKey(ref)) {
      found.push(
        apiProblem(
          ref,
          `a mesh has one MeshConfig, and that is ${first.namespace}/${first.name}; change that one, or delete it first`,
        ),
      );
    }
    return found;
  }

  /** The directory wins, so what is applied beside it would be accepted and have no effect. */
  private heldByDirectory(ref: ObjectRef): readonly Problem[] {
    const held = this.source(DIRECTORY_ORIGIN).good.get(refKey(ref));
    if (!held) return [];
    return [apiProblem(ref, `the object comes from ${held.source.file}; change it there, or take it out there first`)];
  }

  private stale(ref: ObjectRef, generation: number, expect: ReadonlyMap<string, number> | undefined): Problem | undefined {
    const expected = expect?.get(refKey(ref));
    if (expected === undefined || expected === generation) return undefined;
    const now = generation === 0 ? "does not exist" : `is at generation ${generation}`;
    return apiProblem(
      ref,
      `somebody else was faster: the object ${now}, generation ${expected} was expected; get it again and repeat the change`,
    );
  }

  private missing(ref: ObjectRef): string {
    const elsewhere = this.source(DIRECTORY_ORIGIN).good.get(refKey(ref));
    if (elsewhere) return `the object comes from ${elsewhere.source.file}; delete it there`;
    return `there is no ${ref.kind} ${ref.namespace}/${ref.name}`;
  }

  private commit(source: Source, changes: readonly Change[], who: string): void {
    this.persistence.commit(changes, who, this.nowMs());
    for (const { kind, object } of changes) {
      if (kind === "deleted") source.good.delete(keyOf(object.manifest));
      else source.good.set(keyOf(object.manifest), object);
    }
  }

  private publish(): void {
    this.current = this.merge(this.current.version + 1);
    for (const listener of this.listeners) listener(this.current);
  }

  private merge(version: number): ConfigSet {
    const { objects, problems } = mergeSources(
      [...this.sources].map(([name, { objects, problems }]) => ({ name, objects, problems })),
    );
    const byKey = new Map(objects.map((object) => [refKey(object.ref), object]));
    return {
      version,
      objects,
      problems,
      resources: objects.flatMap(({ resource }) => (resource ? [resource] : [])),
      locate: (ref, path) => byKey.get(refKey(ref))?.locate(path),
    };
  }
}

function keyOf({ kind, metadata }: Manifest): string {
  return refKey({ kind, namespace: metadata.namespace, name: metadata.name });
}

/** Whether a problem of a source may be what is left of an object: its file or directory cannot be read, or its kind is misspelt. */
function mayHide({ severity, ref, source }: Problem, { manifest, source: held }: StoredObject): boolean {
  if (severity !== "error" || (held.file !== source.file && !held.file.startsWith(`${source.file}/`))) return false;
  return !ref || (ref.name === manifest.metadata.name && ref.namespace === manifest.metadata.namespace);
}

function firstOfEach(objects: readonly CheckedObject[]): readonly CheckedObject[] {
  return [...new Map([...objects].reverse().map((object) => [refKey(object.ref), object])).values()].reverse();
}

function withHistory(object: CheckedObject, { createdMs, generation }: StoredObject): CheckedObject {
  if (!object.resource) return object;
  const metadata = { ...object.resource.metadata, createdMs, generation };
  return { ...object, resource: { ...object.resource, metadata } as AnyResource };
}

function apiProblem(ref: ObjectRef, message: string): Problem {
  return { severity: "error", ref, path: "metadata.name", message, source: { file: API_ORIGIN, line: 0, column: 0 } };
}

/** What a user can change: two manifests that agree in it are the same generation. */
function contentOf({ apiVersion, metadata, spec }: Manifest): Json {
  const { labels, annotations } = metadata;
  return { apiVersion, metadata: { labels, annotations }, spec };
}

/** Fields that differ; lists are compared item by item. */
function diffFields(before: Json | undefined, after: Json | undefined, path: FieldPath): readonly FieldChange[] {
  if (before === after) return [];
  const [old, young] = [entries(before), entries(after)];
  if (!old || !young || Array.isArray(before) !== Array.isArray(after)) return [{ path: formatPath(path), before, after }];
  const keys = [...new Set([...old.keys(), ...young.keys()])];
  return keys.flatMap((key) => diffFields(old.get(key), young.get(key), [...path, key]));
}

function entries(value: Json | undefined): Map<string | number, Json> | undefined {
  if (Array.isArray(value)) return new Map(value.map((item: Json, index): [number, Json] => [index, item]));
  return value !== null && typeof value === "object" ? new Map(Object.entries(value)) : undefined;
}
