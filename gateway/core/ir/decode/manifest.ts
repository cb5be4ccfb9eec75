import type { ChunkRef, Manifest, Section, SectionInfo } from "../manifest.ts";
import { array, integer, nullable, oneOf, text } from "./check.ts";
import { name, percent } from "./common.ts";
import { object, refined } from "./object.ts";

/** A manifest whose chunk kinds are still any words: what kinds there are is decided where the list is judged. */
export type ManifestDocument = Omit<Manifest, "sections"> & {
  readonly sections: { readonly [name in Section]: SectionDocument };
};
type SectionDocument = Omit<SectionInfo, "chunks"> & { readonly chunks: readonly ChunkDocument[] };
type ChunkDocument = Omit<ChunkRef, "kind"> & { readonly kind: string };

/** The list's own bound; how many a reader takes is its setting. */
const MAX_LISTED_CHUNKS = 65_536;
const SECONDS = integer(0, Number.MAX_SAFE_INTEGER);
/** The last values are never given out, so that adding one is always possible. */
const COUNTER = integer(1, Number.MAX_SAFE_INTEGER - 1);
/** Of a chunk or a payload. The last character holds only four bits, so one hash has one text. */
export const hash = text({
  max: 43,
  min: 43,
  pattern: /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/,
  is: "a SHA-256 hash in base64url",
});

const sectionFields = object<SectionDocument>({
  softExp: SECONDS,
  exp: SECONDS,
  failMode: oneOf("keep", "closed"),
  // The shortest content is an empty array.
  chunks: array(object<ChunkDocument>({ kind: name, name, hash, bytes: integer(2, Number.MAX_SAFE_INTEGER) }), MAX_LISTED_CHUNKS),
});
const section = refined(sectionFields, ({ softExp, exp }, issues) => {
  if (softExp > exp) issues.add("softExp", "must not be after exp");
});

export const manifestDocument = object<ManifestDocument>({
  iss: name,
  aud: name,
  epoch: COUNTER,
  version: COUNTER,
  iat: SECONDS,
  nbf: SECONDS,
  schema: oneOf(1),
  minReader: integer(1, 1_000_000),
  sections: object<ManifestDocument["sections"]>({ routes: section, egress: section, quota: section }),
  prevHash: nullable(hash),
  rollout: object<Manifest["rollout"]>({ salt: text({ max: 128, min: 0 }), percent, notBefore: SECONDS }),
  policyClass: oneOf("narrowing", "widening"),
});
