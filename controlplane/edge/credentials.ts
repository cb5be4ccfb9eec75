/** Credentials that the egress gateway of a site puts into requests: which ones its policies name, and under which name its Worker finds each. */
import { z } from "zod";
import { secretBinding } from "../../gateway/core/ir/index.ts";
import { fail, type Issue, ok, type Result } from "../../gateway/core/result.ts";
import { secretDirectory } from "../secrets.ts";
import type { SiteObject } from "./site.ts";
import type { SecretRef } from "./site-secrets.ts";

export interface CredentialRef extends SecretRef {
  readonly key: string;
  /** The object that asks for it. */
  readonly wantedBy: string;
}

const schema = z.object({
  allow: z
    .array(
      z.object({
        inject: z.array(z.object({ fromSecret: z.object({ name: z.string(), key: z.string() }) })).default([]),
      }),
    )
    .default([]),
});

/** Those that EgressPolicy objects name, each once. */
export function injectedCredentials(policies: readonly SiteObject[]): readonly CredentialRef[] {
  const all = policies.flatMap(({ metadata: { namespace, name }, spec }) => {
    const parsed = schema.safeParse(spec);
    const injects = parsed.success ? parsed.data.allow.flatMap(({ inject }) => inject) : [];
    return injects.map(
      ({ fromSecret }): CredentialRef => ({ namespace, ...fromSecret, wantedBy: `EgressPolicy ${namespace}/${name}` }),
    );
  });
  return [...new Map(all.map((one) => [secretBinding(one), one])).values()];
}

/** Their values by the Worker's name for them. */
export function readCredentials(secrets: string, refs: readonly CredentialRef[]): Result<Readonly<Record<string, string>>> {
  const reader = secretDirectory(secrets);
  const issues: Issue[] = [];
  const values: Record<string, string> = {};
  for (const ref of refs) {
    const secret = reader.read(ref);
    if (secret.ok) values[secretBinding(ref)] = secret.value.reveal();
    else {
      const { kind, message } = secret.error;
      issues.push({
        path: ref.wantedBy,
        problem: kind === "missing" ? `${message}; write the credential to inject into it` : message,
      });
    }
  }
  return issues.length > 0 ? fail(issues) : ok(values);
}
