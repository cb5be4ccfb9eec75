/** Parts that several Istio kinds share. */
import { z } from "zod";
import type { StringMatch } from "../../../../gateway/core/ir/index.ts";
import { headerName, headerValue, labels, regex } from "../scalars.ts";

export const ISTIO_GROUP = "networking.istio.io";
export const ISTIO_VERSIONS = ["v1", "v1beta1", "v1alpha3"] as const;

const matchShape = { exact: z.string().optional(), prefix: z.string().optional(), regex: regex.optional() };
type MatchInput = {
  readonly exact?: string | undefined;
  readonly prefix?: string | undefined;
  readonly regex?: string | undefined;
};

function readMatch(input: MatchInput, emptyAllowed: boolean, ctx: z.RefinementCtx): StringMatch {
  const given = (["exact", "prefix", "regex"] as const).filter((name) => input[name] !== undefined);
  const [kind] = given;
  if (kind === undefined) {
    if (emptyAllowed) return { kind: "present" };
    ctx.addIssue("the match is empty; write one of exact, prefix or regex");
    return z.NEVER;
  }
  if (given.length > 1) {
    ctx.addIssue(`${given.join(" and ")} exclude one another; keep one of them`);
    return z.NEVER;
  }
  const value = input[kind] ?? "";
  if (value === "" && (kind === "prefix" || !emptyAllowed)) {
    ctx.addIssue({
      code: "custom",
      path: [kind],
      message: `${kind} is empty; write a value, or leave the match out to match everything`,
    });
    return z.NEVER;
  }
  return { kind, value };
}

/** exact, prefix or regex; one of them, not empty. Parsed to the IR's match. */
export const stringMatch = z.strictObject(matchShape).transform((input, ctx) => readMatch(input, false, ctx));
/** The same; `{}` means presence. */
export const presenceMatch = z.strictObject(matchShape).transform((input, ctx) => readMatch(input, true, ctx));

const FIELD_NAME = /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/**
 * A map by header name (field names, pseudo-headers, and what `alsoName` takes), parsed to lower case. Names that differ in case only are one
 * field (RFC 9110 5.1), so two of them are refused.
 */
export function byHeaderName<Value extends z.ZodType>(value: Value, alsoName: (name: string) => boolean = () => false) {
  return z
    .record(z.string(), value)
    .default({} as Record<string, z.output<Value>>)
    .transform((input, ctx): { readonly [name: string]: z.output<Value> } => {
      const result: Record<string, z.output<Value>> = {};
      for (const [written, item] of Object.entries(input)) {
        const name = alsoName(written) ? written : written.toLowerCase();
        if (!alsoName(written) && !FIELD_NAME.test(written)) {
          ctx.addIssue({
            code: "custom",
            path: [written],
            message: `"${written}" is not a header name; letters, digits and !#$%&'*+-.^_\`|~ are allowed (RFC 9110 5.1)`,
          });
        } else if (Object.hasOwn(result, name)) {
          ctx.addIssue({
            code: "custom",
            path: [written],
            message: `"${written}" is there already in another spelling; header names have no case`,
          });
        } else result[name] = item as z.output<Value>;
      }
      return result;
    });
}

const headerOperations = z.strictObject({
  set: byHeaderName(headerValue),
  add: byHeaderName(headerValue),
  remove: z.array(headerName).default([]),
});

/** `headers` of a route or destination. Applied by the proxy in the order remove, set, add. */
export const headers = z.strictObject({ request: headerOperations.optional(), response: headerOperations.optional() });

/** Namespaces that see an object: `*`, `.` (its own), or names. */
export const exportTo = z.array(z.string().min(1)).default(["*"]);

/** Codes of google.rpc by number, without OK, which is no failure. */
const GRPC_STATUS = [
  ...["", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"],
  ...["RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"],
  ...["DATA_LOSS", "UNAUTHENTICATED"],
];

/** `UNAVAILABLE`, in any case; its number is what counts. */
export const grpcStatus = z
  .string()
  .meta({ description: `One of ${GRPC_STATUS.slice(1).join(", ")}`, enum: GRPC_STATUS.slice(1) })
  .transform((text, ctx): number => {
    const number = GRPC_STATUS.indexOf(text.toUpperCase());
    if (number > 0) return number;
    ctx.addIssue(`"${text}" is not the status of a failed call; it must be one of ${GRPC_STATUS.slice(1).join(", ")}`);
    return z.NEVER;
  });

/** A port of a Gateway server or ServiceEntry declares one of these. */
export const PORT_PROTOCOLS = ["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"] as const;

/** `tcp`, `Http`, `HTTPS`: upper case is what counts; Istio accepts any case. */
export const portProtocol = z
  .string()
  .meta({ description: `One of ${PORT_PROTOCOLS.join(", ")}`, enum: [...PORT_PROTOCOLS] })
  .transform((text, ctx): (typeof PORT_PROTOCOLS)[number] => {
    const found = PORT_PROTOCOLS.find((protocol) => protocol === text.toUpperCase());
    if (found) return found;
    ctx.addIssue(`"${text}" is not a protocol; it must be one of ${PORT_PROTOCOLS.join(", ")}`);
    return z.NEVER;
  });

export const workloadSelector = z.strictObject({ labels: labels.default({}) });

/** `{value: 12.5}`; parsed to the number 12.5. */
export const percentage = z
  .strictObject({ value: z.number().min(0).max(100).default(0) })
  .meta({ description: "Percent, 0 to 100" })
  .transform((percent): number => percent.value);
