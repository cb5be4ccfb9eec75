/** EgressPolicy: who may call what outside. Deny by default: an empty `from` or `allow` lets nothing out. */
import { z } from "zod";
import { isInjectable, type StringMatch } from "../../../../gateway/core/ir/index.ts";
import { cidr, host } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { headerName, headerValue, isToken, objectName, portNumber } from "../scalars.ts";
import { limits, NATIVE_GROUP, NATIVE_VERSIONS } from "./common.ts";

const allowHost = host({ wildcard: true, any: false, ip: true, refusePublicSuffix: true }).meta({
  description: "Exact name, *.suffix (every depth below, not the apex), or IP address; public suffixes are refused",
});
const denyHost = host({ wildcard: true, any: true, ip: true });

const principalInput = z.strictObject({
  serviceAccount: objectName.optional().meta({ description: "spiffe://<trust domain>/ns/<namespace>/sa/<this>" }),
  proxyUser: z.string().min(1).optional().meta({ description: "User of Proxy-Authorization" }),
  ipBlock: cidr.optional(),
  edgeService: z.string().min(1).optional().meta({ description: "A Worker's service binding" }),
});

/** Who calls. */
export type EgressPrincipal = {
  readonly kind: "serviceAccount" | "proxyUser" | "ipBlock" | "edgeService";
  readonly value: string;
};

const PRINCIPALS = ["serviceAccount", "proxyUser", "ipBlock", "edgeService"] as const;

const principal = principalInput.transform((input, ctx): EgressPrincipal => {
  const given = PRINCIPALS.filter((kind) => input[kind] !== undefined);
  const [kind] = given;
  if (kind === undefined || given.length > 1) {
    ctx.addIssue(
      kind === undefined
        ? `the caller is empty; write one of ${PRINCIPALS.join(", ")}`
        : `${given.join(" and ")} are two callers; write each as an item of its own (any of them may call)`,
    );
    return z.NEVER;
  }
  return { kind, value: input[kind] ?? "" };
});

/** `/v1/*` is what lies under /v1/; anything else is exact. */
const path = z
  .string()
  .meta({ description: "Exact path, or a prefix that ends with /*" })
  .transform((text, ctx): StringMatch => {
    const star = text.indexOf("*");
    if (!text.startsWith("/") || (star !== -1 && (star !== text.length - 1 || !text.endsWith("/*")))) {
      ctx.addIssue(`"${text}" is not a path; write an exact path such as /v1/charges, or what lies under one as /v1/*`);
      return z.NEVER;
    }
    if (/[?#]/.test(text)) {
      ctx.addIssue(`"${text}" has a query or fragment; write the path alone`);
      return z.NEVER;
    }
    return star === -1 ? { kind: "exact", value: text } : { kind: "prefix", value: text.slice(0, -1) };
  });

const method = z
  .string()
  .meta({ description: "HTTP method, upper case" })
  .superRefine((text, ctx) => {
    if (!isToken(text)) ctx.addIssue(`"${text}" is not an HTTP method`);
    else if (text !== text.toUpperCase())
      ctx.addIssue(`methods are case-sensitive (RFC 9110 9.1); write "${text.toUpperCase()}"`);
    else if (text === "CONNECT")
      ctx.addIssue("CONNECT is how tunnels are asked for; list the methods inside, or use protocol https");
  });

const DEFAULT_PORTS = { https: [443], tls: [443], http: [80], tcp: [] } as const;

const allowRule = z
  .strictObject({
    name: z.string().min(1).max(63).optional().meta({ description: "Shown in logs and refusals; default rule-1, rule-2, …" }),
    hosts: z.array(allowHost),
    ports: z.array(portNumber).optional().meta({ description: "That are reached; default 443 for https and tls, 80 for http" }),
    protocol: z.enum(["https", "http", "tls", "tcp"]).default("https"),
    methods: z.array(method).default([]).meta({ description: "None: all. http, or https with originate, only" }),
    paths: z.array(path).default([]).meta({ description: "None: all. http, or https with originate, only" }),
    originate: z
      .strictObject({ tls: z.enum(["SIMPLE"]) })
      .optional()
      .meta({ description: "Requests for http://host/ go on over TLS to port 443" }),
    inject: z
      .array(
        z.strictObject({
          header: headerName,
          fromSecret: z.strictObject({ name: objectName, key: z.string().min(1) }),
          prefix: headerValue.default(""),
        }),
      )
      .default([])
      .meta({
        description:
          "Credentials of the policy's namespace, in place of what the client sent; http, or https with originate, only",
      }),
    addresses: z
      .array(z.strictObject({ cidr, ports: z.array(portNumber) }))
      .default([])
      .meta({ description: "The only way to reach special-purpose addresses" }),
    limits: limits.prefault([]),
  })
  .transform((rule) => ({ ...rule, ports: rule.ports ?? [...DEFAULT_PORTS[rule.protocol]] }));

const denyRule = z.strictObject({
  hosts: z.array(denyHost),
  ports: z.array(portNumber).default([]).meta({ description: "None: all" }),
  reason: z.string().max(1024).default("").meta({ description: "Told to the client and logged" }),
});

const egressPolicySchema = z.strictObject({
  from: z.array(principal).default([]).meta({ description: "Who; any of. None: nobody" }),
  mode: z.enum(["enforce", "report", "learn"]).default("enforce"),
  allow: z
    .array(allowRule)
    .default([])
    .transform((rules) => rules.map((rule, index) => ({ ...rule, name: rule.name ?? `rule-${index + 1}` }))),
  deny: z.array(denyRule).default([]).meta({ description: "Beats every allow of every policy in this scope" }),
});
export type EgressPolicySpec = z.output<typeof egressPolicySchema>;
export type EgressAllowRule = EgressPolicySpec["allow"][number];
export type EgressDenyRule = EgressPolicySpec["deny"][number];

type At = readonly (string | number)[];

function checkRule(rule: EgressAllowRule, at: At): Finding[] {
  const found: Finding[] = [];
  if (rule.hosts.length === 0)
    found.push({ path: [...at, "hosts"], message: "the rule names no host, so it allows nothing; list the hosts" });
  found.push(...repeated(rule.hosts, [...at, "hosts"], "host"), ...repeated(rule.ports, [...at, "ports"], "port"));
  if (rule.ports.length === 0)
    found.push({ path: [...at, "ports"], message: `protocol ${rule.protocol} has no default port; list the ports` });
  const seesRequests = rule.protocol === "http" || (rule.protocol === "https" && rule.originate !== undefined);
  for (const field of ["methods", "paths", "inject"] as const) {
    if (rule[field].length > 0 && !seesRequests) {
      found.push({
        path: [...at, field],
        message: `the gateway does not see requests inside ${rule.protocol}; remove ${field}, or use protocol http, or https with originate`,
      });
    }
  }
  if (rule.originate && rule.protocol !== "https") {
    found.push({
      path: [...at, "originate"],
      message: `originate makes TLS towards the host, so the protocol must be https, not ${rule.protocol}`,
    });
  }
  found.push(...checkInjections(rule, at));
  if (rule.protocol !== "tcp") return found;
  rule.hosts.forEach((host, index) => {
    if (host.startsWith("*.") && rule.addresses.length === 0) {
      found.push({
        path: [...at, "hosts", index],
        message: `in protocol tcp nothing but the CONNECT name tells the host; "${host}" opens every name below it`,
        severity: "warning",
      });
    }
  });
  return found;
}

function checkInjections({ inject, hosts, protocol }: EgressAllowRule, at: At): Finding[] {
  const found: Finding[] = [
    ...repeated(
      inject.map(({ header }) => header),
      [...at, "inject"],
      "header",
    ),
  ];
  inject.forEach(({ header }, index) => {
    if (isInjectable(header)) return;
    const message = `${header} says how a message travels, which is the gateway's to write; a credential goes in a field such as authorization`;
    found.push({ path: [...at, "inject", index, "header"], message });
  });
  if (inject.length === 0) return found;
  const wide = hosts.findIndex((host) => host.startsWith("*."));
  if (wide !== -1) {
    const message = `every name below ${hosts[wide]?.slice(2)} gets the credential; list the hosts that it is for`;
    found.push({ path: [...at, "hosts", wide], message, severity: "warning" });
  }
  if (protocol === "http") {
    const message = "the credential goes over the network in the clear; use protocol https with originate where the host has TLS";
    found.push({ path: [...at, "inject"], message, severity: "warning" });
  }
  return found;
}

function repeated(values: readonly (string | number)[], at: At, word: string): Finding[] {
  return values.flatMap((value, index) =>
    values.indexOf(value) < index
      ? [{ path: [...at, index], message: `the ${word} ${JSON.stringify(value)} is listed twice; remove one` }]
      : [],
  );
}

export const egressPolicy = defineKind({
  kind: "EgressPolicy",
  group: NATIVE_GROUP,
  versions: NATIVE_VERSIONS,
  plural: "egresspolicies",
  description: "Who may call what outside; deny by default.",
  schema: egressPolicySchema,
  check(spec) {
    const found: Finding[] = [];
    const names = new Map<string, number>();
    spec.allow.forEach((rule, index) => {
      found.push(...checkRule(rule, ["allow", index]));
      const before = names.get(rule.name);
      if (before !== undefined) {
        found.push({
          path: ["allow", index, "name"],
          message: `the rule "${rule.name}" is defined already by allow[${before}]; names must differ`,
        });
      }
      names.set(rule.name, before ?? index);
    });
    spec.deny.forEach((rule, index) => {
      if (rule.hosts.length === 0)
        found.push({ path: ["deny", index, "hosts"], message: 'the deny names no host; list the hosts, or "*" for all' });
    });
    if (spec.from.length === 0 && spec.allow.length > 0) {
      found.push({
        path: ["from"],
        message: "nobody is named, so nobody may use these rules; list the callers",
        severity: "warning",
      });
    }
    for (const [index, principal] of spec.from.entries()) {
      if (principal.kind === "ipBlock" && principal.value.endsWith("/0")) {
        found.push({
          path: ["from", index, "ipBlock"],
          message: `${principal.value} is everybody who reaches the gateway; name the networks of the callers`,
          severity: "warning",
        });
      }
    }
    return found;
  },
});
