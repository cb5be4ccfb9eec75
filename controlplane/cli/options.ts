/** Options that several verbs share, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { FORMATS, type Format } from "./output.ts";

export interface ApiFlags {
  readonly api?: string;
  readonly tokenFile?: string;
}

export interface OutputFlags {
  readonly output: Format;
}

export function withApi(command: Command): Command {
  return command
    .option("--api <url>", "the control plane's API (TIDEGATE_API; default http://127.0.0.1:15080)")
    .option("--token-file <file>", "file with the API's token (TIDEGATE_TOKEN; default .tidegate/control/api.token)");
}

export function withOutput(command: Command): Command {
  return command.addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"));
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `10s`, `5m`, `1h`, `30d` → milliseconds. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) throw new InvalidArgumentError("a duration is a number and a unit: 500ms, 10s, 5m, 1h, 30d");
  return Math.round(Number(match[1]) * (UNITS[match[2] ?? "s"] ?? 1));
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("a whole number is needed");
  return Number(text);
}

export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** Kinds as people write them: `vs`, `virtualservices`, `VirtualService`. */
export const KIND_NAMES: Readonly<Record<string, string>> = {
  gateway: "Gateway",
  gateways: "Gateway",
  gw: "Gateway",
  virtualservice: "VirtualService",
  virtualservices: "VirtualService",
  vs: "VirtualService",
  destinationrule: "DestinationRule",
  destinationrules: "DestinationRule",
  dr: "DestinationRule",
  serviceentry: "ServiceEntry",
  serviceentries: "ServiceEntry",
  se: "ServiceEntry",
  workloadentry: "WorkloadEntry",
  workloadentries: "WorkloadEntry",
  we: "WorkloadEntry",
  quota: "Quota",
  quotas: "Quota",
  egresspolicy: "EgressPolicy",
  egresspolicies: "EgressPolicy",
  meshconfig: "MeshConfig",
  meshconfigs: "MeshConfig",
};

export function kindName(text: string): string {
  const found = KIND_NAMES[text.toLowerCase()];
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`unknown kind ${text}; known: ${[...new Set(Object.values(KIND_NAMES))].join(", ")}`);
}
