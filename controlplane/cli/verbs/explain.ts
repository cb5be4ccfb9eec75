import type { Command } from "commander";
import { compile, type Explanation, explain } from "../../../gateway/core/index.ts";
import { type Snapshot, snapshotVersion } from "../../../gateway/core/ir/index.ts";
import { readSnapshotFile } from "../../snapshot/index.ts";
import type { CliContext } from "../context.ts";
import { collect, type OutputFlags, withOutput } from "../options.ts";
import { CliError, clean, duration, show, type Terminal, table, tinted } from "../output.ts";

interface ExplainFlags extends OutputFlags {
  readonly method: string;
  readonly header?: readonly string[];
  readonly source: string;
  readonly listener?: string;
  readonly snapshot?: string;
  readonly gateway: string;
}

export function registerExplain(program: Command, context: CliContext): void {
  const command = program
    .command("explain")
    .description(
      "which route, filters, quotas and destination apply to a request, and why; decided by the gateway's own code, sending nothing",
    )
    .argument("<url>", "as a client would ask for it, such as http://127.0.0.1:8080/productpage")
    .option("-X, --method <method>", "request method", "GET")
    .option("-H, --header <field>", "'name: value'; may be repeated", collect)
    .option("--source <address>", "address of the client", "127.0.0.1")
    .option("--listener <name>", "listener, such as 127.0.0.1:8080 (default: found by scheme and port)")
    .option("--snapshot <file>", "explain against a snapshot file")
    .option("--gateway <url>", "explain against a running gateway's admin port", "http://127.0.0.1:15000");
  withOutput(command)
    .addHelpText(
      "after",
      `
Examples:
  npx tidegate explain http://127.0.0.1:8080/reviews/0 -H 'end-user: jason'
  npx tidegate explain http://shop.example.com/cart -X POST --snapshot ingress.snapshot -o json`,
    )
    .action(async (url: string, flags: ExplainFlags) => {
      if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
        throw new CliError(`${url}: not an http or https URL; write it like http://127.0.0.1:8080/productpage`, 2);
      }
      const { snapshot, version } =
        flags.snapshot === undefined ? await fromGateway(flags.gateway) : await fromFile(flags.snapshot);
      const tables = compile(snapshot, version, undefined);
      if (!tables.ok) throw new CliError(tables.error.map(({ path, problem }) => `${path}: ${problem}`).join("\n"));
      const fields = readFields(flags.header ?? []);
      const { protocol, host, pathname, search } = new URL(url);
      const explanation = explain(tables.value, {
        method: flags.method,
        scheme: protocol === "https:" ? "https" : "http",
        authority: fields.host ?? host,
        target: `${pathname}${search}`,
        fields: fields.list,
        source: flags.source,
        ...(flags.listener !== undefined && { listener: flags.listener }),
      });
      show(context.terminal, flags.output, explanation, () => explanationText(context.terminal, explanation));
    });
}

interface Loaded {
  readonly snapshot: Snapshot;
  readonly version: string;
}

async function fromFile(path: string): Promise<Loaded> {
  const read = await readSnapshotFile(path);
  if (!read.ok) throw new CliError(read.error.map((issue) => `${issue.path}: ${issue.problem}`).join("\n"));
  return { snapshot: read.value.snapshot, version: snapshotVersion(read.value.manifest) };
}

async function fromGateway(base: string): Promise<Loaded> {
  try {
    const response = await fetch(new URL("/config_dump", base));
    const { snapshot, version } = (await response.json()) as { snapshot?: Snapshot; version?: string | null };
    if (snapshot !== undefined && snapshot !== null && typeof version === "string") return { snapshot, version };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new CliError(
      `no gateway's admin port at ${base} (${cause}); start one (npx tidegate up), name another with --gateway, or give a file with --snapshot`,
    );
  }
  throw new CliError(`the gateway at ${base} has no snapshot yet: see ${new URL("/ready", base)}`);
}

/** `Host` says where the request goes; it is no field of the list. */
function readFields(headers: readonly string[]): { list: string[]; host: string | undefined } {
  const list: string[] = [];
  let host: string | undefined;
  for (const header of headers) {
    const colon = header.indexOf(":");
    if (colon < 1) throw new CliError(`-H ${header}: write a field as 'name: value'`, 2);
    const name = header.slice(0, colon).trim().toLowerCase();
    const value = header.slice(colon + 1).trim();
    if (name === "host") host = value.toLowerCase();
    else list.push(name, value);
  }
  return { list, host };
}

function explanationText(terminal: Terminal, explanation: Explanation): string {
  const { listener, virtualHost, route, filters, quotas, outcome, tried } = explanation;
  const line = (name: string, text: string) => `${tinted(terminal, name.padEnd(12), "dim")} ${clean(text)}\n`;
  const origin =
    route &&
    `${route.origin.kind} ${route.origin.namespace}/${route.origin.name}${route.origin.path ? ` ${route.origin.path}` : ""}`;
  return [
    line("snapshot", explanation.snapshot),
    line("listener", listener === undefined ? "none" : `${listener.name} (declared port ${listener.servicePort})`),
    line("host", virtualHost === undefined ? "no virtual host" : `${virtualHost.domain} (${virtualHost.name})`),
    ...tried
      .filter(({ verdict }) => verdict === "fails")
      .map(({ route: id, why }) => line("not", `${id}: ${why ?? "it does not match"}`)),
    line("route", route === undefined ? "none" : `${route.id} from ${origin}`),
    ...filters.map(({ filter, effect }) => line(filter, effect)),
    ...quotas.map((quota) => line("quota", quotaText(quota))),
    outcomeText(terminal, outcome, line),
  ].join("");
}

function quotaText({ id, applies, note, key, cost, limits, mode }: Explanation["quotas"][number]): string {
  if (!applies) return `${id} does not apply${note === undefined ? "" : `: ${note}`}`;
  const told = limits.map(({ name, amount, perMs, window }) => `${name} ${amount} per ${duration(perMs)} (${window})`).join(", ");
  return `${id} (${mode}): ${told}; costs ${cost}${key ? `, counted under ${JSON.stringify(key)}` : ""}${note === undefined ? "" : `; ${note}`}`;
}

function outcomeText(terminal: Terminal, outcome: Explanation["outcome"], line: (name: string, text: string) => string): string {
  switch (outcome.kind) {
    case "refused":
      return tinted(terminal, line("refused", outcome.reason).trimEnd(), "bad").concat("\n");
    case "answered":
      return line(
        "answered",
        `${outcome.status} by ${outcome.by}${outcome.location === undefined ? "" : `, location ${outcome.location}`}`,
      );
    case "forwarded": {
      const rows = outcome.destinations.map(({ cluster, share, endpoints, problem, head }) => [
        cluster,
        `${Math.round(share * 1000) / 10} %`,
        { text: problem ?? endpoints.join(" "), tone: problem === undefined ? ("plain" as const) : ("bad" as const) },
        `${head.method} ${head.authority}${head.target}`,
      ]);
      const facts = [
        line("timeout", outcome.timeoutMs === undefined ? "none" : duration(outcome.timeoutMs)),
        line("retries", outcome.retry === undefined ? "none" : `${outcome.retry.attempts} on ${outcome.retry.on.join(", ")}`),
        ...outcome.mirrors.map(({ cluster, percent }) => line("mirror", `${percent} % to ${cluster}`)),
      ];
      return `${facts.join("")}\n${table(terminal, ["DESTINATION", "SHARE", "ENDPOINTS", "SENT AS"], rows)}`;
    }
  }
}
