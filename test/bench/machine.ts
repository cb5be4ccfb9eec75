/** The machine that a run is made on: which processors do what, what it is, what else it was doing. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { ensure, type Part } from "../tools/ensure.ts";

/** The proxy has this one to itself; origin and load generator share the other. */
export const PROXY_CPU = "0";
export const LOAD_CPU = "1";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMb: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  /** /proc/loadavg before the run and after it: what else the machine was doing. */
  readonly load: readonly [string, string];
  /** Of peers and generators, as they tell them. */
  readonly versions: Readonly<Record<string, string>>;
}

export function loadAverage(): string {
  return readFileSync("/proc/loadavg", "utf8").trim();
}

export function describeMachine(loadBefore: string): Machine {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1024 / 1024),
    kernel: release(),
    system: /^PRETTY_NAME="(.*)"$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown",
    node: process.version,
    load: [loadBefore, loadAverage()],
    versions: Object.fromEntries(VERSIONED.flatMap(([part, flag]) => versionOf(part, flag))),
  };
}

const VERSIONED: readonly (readonly [Part, string])[] = [
  ["nginx", "-v"],
  ["haproxy", "-v"],
  ["envoy", "--version"],
  ["wrk", "-v"],
  ["h2load", "--version"],
  ["ab", "-V"],
];

function versionOf(part: Part, flag: string): readonly (readonly [string, string])[] {
  const found = ensure(part);
  if (found.kind === "missing") return [];
  const { stdout, stderr } = spawnSync(found.path, [flag], { encoding: "utf8" });
  const version = /\d+\.\d+(\.\d+)*/.exec(`${stdout}${stderr}`)?.[0];
  return version === undefined ? [] : [[part, version]];
}
