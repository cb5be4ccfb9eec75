import type { Command } from "commander";
import type { EndpointsResponse, EndpointView } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { type ApiFlags, type OutputFlags, withApi, withOutput } from "../options.ts";
import { ago, type Cell, CliError, show, type Terminal, type Tone, table } from "../output.ts";

interface EndpointFlags extends ApiFlags, OutputFlags {
  readonly pool?: string;
  readonly gateway?: string;
}

const TONES: Readonly<Record<string, Tone>> = {
  healthy: "good",
  warming: "warn",
  ejected: "bad",
  unhealthy: "bad",
  unknown: "dim",
};
const HEADER = ["POOL", "SERVICE", "ENDPOINT", "STATE", "SINCE", "GATEWAYS", "LOCALITY", "WHY"];

/** `get endpoints`: a command of its own below `get`, because endpoints are no objects. */
export function registerGetEndpoints(get: Command, context: CliContext): void {
  const command = get
    .command("endpoints")
    .alias("ep")
    .description("endpoints of services, and how the gateways find them")
    .argument("[service]", "host of a service, or its first label")
    .option("--pool <pool>", "only this pool's")
    .option("--gateway <gateway>", "only as this gateway sees them");
  withOutput(withApi(command))
    .addHelpText(
      "after",
      `
Examples:
  npx tidegate get endpoints
  npx tidegate get endpoints reviews
  npx tidegate get endpoints reviews.bookinfo.svc.cluster.local --gateway ingress-1 -o json`,
    )
    .action(async (service: string | undefined, flags: EndpointFlags) => {
      const query = new URLSearchParams();
      if (service !== undefined) query.set("service", service);
      if (flags.pool !== undefined) query.set("pool", flags.pool);
      if (flags.gateway !== undefined) query.set("gateway", flags.gateway);
      const { items } = await context.api(flags).get<EndpointsResponse>(`/endpoints?${query}`);
      if (items.length === 0 && query.size > 0)
        throw new CliError("no such endpoints; list all with: tidegate get endpoints, and gateways with: tidegate status");
      show(context.terminal, flags.output, items, () => endpointTable(context.terminal, items, context.now()));
    });
}

/** Gateways that find an endpoint alike share a line. */
export function endpointTable(terminal: Terminal, items: readonly EndpointView[], nowMs: number): string {
  if (items.length === 0) return "no endpoints\n";
  const lines = Map.groupBy(items, ({ pool, cluster, address, port, state, reason }) =>
    JSON.stringify([pool, cluster, address, port, state, reason]),
  );
  const perPool = new Map(
    [...Map.groupBy(items, ({ pool }) => pool)].map(([pool, list]) => [pool, new Set(list.map(({ gateway }) => gateway)).size]),
  );
  return table(
    terminal,
    HEADER,
    [...lines.values()].flatMap((alike) => {
      const [first] = alike;
      return first === undefined ? [] : [row(first, alike, perPool.get(first.pool) ?? 0, nowMs)];
    }),
  );
}

function row(item: EndpointView, alike: readonly EndpointView[], gateways: number, nowMs: number): (string | Cell)[] {
  const { pool, host, servicePort, subset, address, port, hostname, state, sinceMs, locality, reason } = item;
  const names = alike.flatMap(({ gateway }) => gateway ?? []);
  const place = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return [
    pool,
    `${host}:${servicePort}${subset === undefined ? "" : ` (${subset})`}`,
    hostname === undefined ? place : `${place} (${hostname})`,
    { text: state, tone: TONES[state] ?? "plain" },
    sinceMs === undefined ? "-" : ago(sinceMs, nowMs),
    names.length > 1 && names.length === gateways ? `all ${gateways}` : names.join(" ") || "-",
    locality ?? "-",
    reason ?? "",
  ];
}
