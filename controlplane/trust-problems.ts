/** What MeshConfig asks of the trust root and the root does not give: only `tidegate keys` can make it so. */
import type { AnyResource, MeshConfigSpec } from "./config/index.ts";
import type { Problem } from "./config/resource.ts";
import type { KeyRing } from "./snapshot/index.ts";

export function trustProblems(mesh: MeshConfigSpec, keys: KeyRing, resources: readonly AnyResource[]): readonly Problem[] {
  const { document } = keys.root;
  const found: string[] = [];
  if (mesh.trustDomain !== document.iss) {
    found.push(
      `spec.trustDomain is ${mesh.trustDomain}, the trust root speaks for ${document.iss}; make keys for it (tidegate keys init)`,
    );
  }
  for (const role of ["routes", "egress", "quota"] as const) {
    const wanted = mesh.signatures[role].narrowing;
    const { threshold } = document.roles[role];
    if (wanted > threshold) {
      found.push(`spec.signatures.${role}.narrowing asks for ${wanted} signatures, the trust root for ${threshold}`);
    }
  }
  const { widening } = mesh.signatures.egress;
  const { wideningThreshold } = document.roles.egress;
  if (widening > wideningThreshold) {
    found.push(`spec.signatures.egress.widening asks for ${widening} signatures, the trust root for ${wideningThreshold}`);
  }
  const object = resources.find((resource) => resource.kind === "MeshConfig");
  const ref = object && { kind: "MeshConfig", namespace: object.metadata.namespace, name: object.metadata.name };
  const source = object?.source ?? { file: "trust root", line: 0, column: 0 };
  return found.map((message) => ({ severity: "warning", ref, path: "spec", message, source }));
}
