import type { Command } from "commander";
import type { GatewayState, GatewayView, StatusResponse } from "../../api/index.ts";
import type { CliContext } from "../context.ts";
import { type ApiFlags, type OutputFlags, withApi, withOutput } from "../options.ts";
import { ago, type Cell, CliError, show, type Terminal, type Tone, table, tinted } from "../output.ts";
import { problemLines } from "../problems.ts";

const TONES: Record<GatewayState, Tone> = {
  synced: "good",
  partial: "bad",
  pending: "warn",
  refused: "bad",
  disconnected: "bad",
  waiting: "dim",
};
const GATEWAY_HEADER = ["POOL", "GATEWAY", "STATE", "VERSION", "SINCE", "WHY"];
const SITE_HEADER = ["POOL", "SITE", "STATE", "ACCEPTED", "SINCE", "ENFORCED", "CONNECTED", "WHY"];

export function registerStatus(program: Command, context: CliContext): void {
  const command = program
    .command("status")
    .description("per gateway and edge site: the version it enforces, since when, synced or why not");
  withOutput(withApi(command))
    .addHelpText(
      "after",
      `
Examples:
  npx tidegate status
  npx tidegate status -o json

Exit codes: 0 every connected gateway and site is synced, 3 one is not.`,
    )
    .action(async (flags: ApiFlags & OutputFlags) => {
      const status = await context.api(flags).get<StatusResponse>("/status");
      show(context.terminal, flags.output, status, () => statusText(context.terminal, status, context.now(), context.cwd));
      const behind = status.pools
        .flatMap((pool) => pool.gateways)
        .some(({ state }) => state === "refused" || state === "partial" || state === "pending");
      if (behind) throw new CliError("", 3);
    });
}

export function statusText(terminal: Terminal, status: StatusResponse, nowMs: number, cwd?: string): string {
  const pools = table(
    terminal,
    ["POOL", "SNAPSHOT", "PUBLISHED", "GATEWAYS"],
    status.pools.map((pool) => [
      pool.name,
      pool.version ?? "-",
      pool.publishedMs === undefined ? "-" : `${ago(pool.publishedMs, nowMs)} ago`,
      `${pool.gateways.filter((gateway) => gateway.state === "synced").length}/${pool.gateways.length} synced`,
    ]),
  );
  const gateways = status.pools.flatMap((pool) => pool.gateways);
  const { accepted, refused, withProblems } = status.objects;
  const summary = `${accepted} objects accepted, ${refused} refused, ${withProblems} with problems\n`;
  return [
    pools,
    gateways.length === 0 ? tinted(terminal, "no gateway has enrolled yet\n", "dim") : gatewayTables(terminal, gateways, nowMs),
    summary + problemLines(terminal, status.problems, cwd),
  ].join("\n");
}

/** One table for gateways and one for edge sites, whichever there are. */
export function gatewayTables(terminal: Terminal, views: readonly GatewayView[], nowMs: number): string {
  const gateways = views.filter(({ kind }) => kind === "gateway");
  const sites = views.filter(({ kind }) => kind === "site");
  return [
    ...(gateways.length === 0
      ? []
      : [
          table(
            terminal,
            GATEWAY_HEADER,
            gateways.map((gateway) => gatewayRow(gateway, nowMs)),
          ),
        ]),
    ...(sites.length === 0
      ? []
      : [
          table(
            terminal,
            SITE_HEADER,
            sites.map((site) => siteRow(site, nowMs)),
          ),
        ]),
  ].join("\n");
}

function gatewayRow({ pool, id, state, version, sinceMs, reasons }: GatewayView, nowMs: number): (string | Cell)[] {
  return [pool, id, { text: state, tone: TONES[state] }, version ?? "-", ago(sinceMs, nowMs), reasons.join("; ")];
}

/** A site that was never connected has no times. */
function siteRow({ pool, id, state, version, site, reasons }: GatewayView, nowMs: number): (string | Cell)[] {
  return [
    pool,
    id,
    { text: state, tone: TONES[state] },
    version ?? "-",
    ago(site?.acceptedMs, nowMs),
    site?.enforced ?? "-",
    site?.connectedMs === undefined ? "no" : `${ago(site.connectedMs, nowMs)}${site.via === "https" ? ", by https" : ""}`,
    reasons.join("; "),
  ];
}
