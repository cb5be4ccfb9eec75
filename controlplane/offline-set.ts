/** Documents as one set, as the control plane reads a directory: checked, duplicates settled, ready for the pipeline. */
import { type AnyResource, type ConfigSet, type FileReader, mergeSources, validateText } from "./config/index.ts";
import { type Problem, refKey } from "./config/resource.ts";

export interface OfflineSet extends Pick<ConfigSet, "resources" | "locate"> {
  /** Of texts and of objects. */
  readonly problems: readonly Problem[];
}

export function mergeDocuments(
  documents: readonly { readonly file: string; readonly text: string }[],
  options: { readonly nowMs: number; readonly files: FileReader },
): OfflineSet {
  const validations = documents.map(({ file, text }) => validateText(text, file, options));
  const merged = mergeSources([
    {
      name: "files",
      objects: validations.flatMap(({ objects }) => objects),
      problems: validations.flatMap(({ problems }) => problems),
    },
  ]);
  const resources: AnyResource[] = merged.objects.flatMap(({ resource }) => resource ?? []);
  const byKey = new Map(merged.objects.map((object) => [refKey(object.ref), object]));
  return {
    resources,
    locate: (ref, path) => byKey.get(refKey(ref))?.locate(path),
    problems: [...merged.problems, ...merged.objects.flatMap(({ problems }) => problems)],
  };
}
