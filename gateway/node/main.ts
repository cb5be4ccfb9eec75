/** The gateway process: settings → threads, side doors, and a source of snapshots. */
import { type FSWatcher, readFileSync, watch } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { totalmem } from "node:os";
import { basename, dirname, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { type JoinToken, parseJoinToken } from "../core/identity/index.ts";
import {
  decodeSnapshotFile,
  MAX_SNAPSHOT_FILE_BYTES,
  type SnapshotFile,
  sectionState,
  snapshotVersion,
} from "../core/ir/index.ts";
import { fail, type Result } from "../core/result.ts";
import { armSystemTimer } from "./clock.ts";
import type { ControlClient as Control } from "./control.ts";
import { ControlStore } from "./control-store.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import { Gateway } from "./gateway.ts";
import { Predecessor } from "./handover.ts";
import { createLog } from "./log.ts";
import { MetricsBlock, MetricsRegistry } from "./metrics.ts";
import type { OverloadLimits } from "./overload.ts";
import { type GatewaySettings, hasSettingsFile, readSettings, usage } from "./settings.ts";
import { TunnelClient } from "./tunnel-client.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** EX_SOFTWARE of sysexits.h: whoever watches over the process starts it again. */
const EXIT_BUG = 70;
/** A snapshot file is read again when its directory has been quiet for this long. */
const SETTLE_MS = 50;

// Requests leave short-lived objects behind; a young generation that holds more of them is swept less often. Threads inherit it.
setFlagsFromString("--min-semi-space-size=8");
// A pause between requests is no reason to forget their code: whoever comes after it would wait for all of it to be compiled and measured anew.
setFlagsFromString("--no-flush-bytecode");

const log = createLog(
  (line) => process.stderr.write(line),
  process.stderr.isTTY === true,
  () => Date.now(),
);

const given = { argv: process.argv.slice(2), env: process.env };
// Most gateways have no such file, and need not spend 4 MB on a parser for it.
const parse = hasSettingsFile(given) ? (await import("yaml")).parse : undefined;
const read = readSettings({ ...given, readFile: (path) => parse?.(readFileSync(path, "utf8")) });
if (!read.ok) {
  for (const { path, problem } of read.error) process.stderr.write(`${path}: ${problem}\n`);
  process.exit(EXIT_USAGE);
}
if (read.value === "help") {
  process.stdout.write(usage());
  process.exit(0);
}
process.on("uncaughtException", (error) => {
  log("error", "the gateway ends by a bug", { error: error instanceof Error ? error.stack : String(error) });
  process.exit(EXIT_BUG);
});
await orGiveUp(run(read.value));

async function run(settings: GatewaySettings): Promise<void> {
  const joinToken = readJoinToken(settings);
  const store = settings.control === undefined || settings.state === undefined ? undefined : new ControlStore(settings.state);
  const before = settings.state === undefined ? undefined : await Predecessor.seek(settings.state, settings.gatewayId);
  const shared = new Set(Object.keys(before?.handing.sockets ?? {}));
  const metrics = new MetricsRegistry();
  const secrets = resolve(settings.secrets);
  const { threads, threadHeapMb, threadHangMs } = settings;
  const bankAccess = readBankAccess(settings);
  const limits = overloadLimits(settings);
  let following: Control | undefined;
  const engine = new Engine({
    threads,
    threadHeapMb,
    threadHangMs,
    limits,
    bankAccess,
    metrics,
    secrets,
    locality: settings.locality,
    nameServers: settings.nameServers,
    log,
    shared,
    problemsChanged: (problems) => following?.problemsChanged(problems),
  });
  const tunnels = tunnelsOf(settings, engine, metrics);
  const gateway = new Gateway({ settings, engine, metrics, tunnels, log, exit: () => process.exit(0) });
  process.on("SIGTERM", () => void gateway.end());
  process.on("SIGINT", () => void gateway.end());
  process.on("SIGHUP", () => engine.reopenLogs());
  if (before === undefined) await gateway.open(shared);
  if (store === undefined || settings.control === undefined) {
    const path = resolve(settings.snapshot ?? "");
    if (!(await runFile(engine, path))) process.exit(EXIT_FAILED);
    gateway.fedBy({ watcher: watchFile(path, () => void runFile(engine, path)) });
    process.on("SIGHUP", () => void runFile(engine, path));
    if (before !== undefined) await gateway.takeOver(before);
    await gateway.awaitSuccessor();
    return;
  }
  // Not before they are known to be needed: gRPC alone takes 6 MB.
  const [{ ControlClient }, { EndpointReporter }] = await Promise.all([import("./control.ts"), import("./endpoint-report.ts")]);
  const reporter = new EndpointReporter({
    endpoints: () => engine.endpoints(),
    send: (report) => following?.report(report) === true,
    arm: armSystemTimer,
  });
  engine.watchEndpoints(() => reporter.changed());
  const control = new ControlClient({
    opened: () => reporter.connected(),
    address: settings.control,
    gatewayId: settings.gatewayId,
    store,
    joinToken,
    installer: engine,
    unixMs: () => Date.now(),
    random: Math.random,
    log,
    software: "tidegate",
  });
  following = control;
  gateway.fedBy({ control });
  await control.restore();
  if (before !== undefined) {
    await gateway.takeOver(before);
    // What the one before has put there meanwhile.
    await control.restore();
  }
  control.follow();
  await gateway.awaitSuccessor();
}

/** Until there is a snapshot that says which cluster this is, they only try. */
function tunnelsOf(settings: GatewaySettings, engine: Engine, metrics: MetricsRegistry): TunnelClient | undefined {
  const { tunnel, tunnelTokenFile, tunnelConnections } = settings;
  if (tunnel.length === 0 || tunnelTokenFile === undefined) return undefined;
  const { memory, announce } = metrics.block();
  return new TunnelClient({
    sites: tunnel,
    connections: tunnelConnections,
    readToken: () => readFileSync(tunnelTokenFile, "utf8").trim(),
    snapshot: () => engine.snapshot,
    metrics: new MetricsBlock(memory, announce),
    random: Math.random,
    log,
  });
}

/** Puts a snapshot file in force. Its signatures are not checked: whoever may write the file may start the gateway. */
async function runFile(engine: Engine, path: string): Promise<boolean> {
  const file = await readSnapshotFile(path);
  if (!file.ok) {
    for (const { path: at, problem } of file.error) log("error", "the snapshot file cannot be used", { at, problem });
    return false;
  }
  const { manifest, snapshot } = file.value;
  const outcome = await engine.installSnapshot(snapshot, snapshotVersion(manifest), () => Promise.resolve());
  for (const { name, reason } of outcome.problems) log("error", "a part of the snapshot is not in force", { name, reason });
  if (outcome.kind === "refused") return false;
  engine.aged(sectionState(manifest, Date.now() / 1000));
  log("info", "snapshot in force", { version: snapshotVersion(manifest), file: path });
  return true;
}

async function readSnapshotFile(path: string): Promise<Result<SnapshotFile>> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_SNAPSHOT_FILE_BYTES) return await decodeSnapshotFile(await readFile(path), path);
    return fail([{ path, problem: `has ${size} bytes, at most ${MAX_SNAPSHOT_FILE_BYTES} are read` }]);
  } catch (error) {
    return fail([{ path, problem: `cannot be read: ${error instanceof Error ? error.message : String(error)}` }]);
  }
}

/** The directory is watched: an editor or a link swap replaces the file. */
function watchFile(path: string, changed: () => void): FSWatcher {
  let settle: NodeJS.Timeout | undefined;
  return watch(dirname(path), (_event, name) => {
    if (name !== null && name !== basename(path)) return;
    clearTimeout(settle);
    settle = setTimeout(changed, SETTLE_MS);
  });
}

function readJoinToken({ joinTokenFile }: GatewaySettings): JoinToken | undefined {
  if (joinTokenFile === undefined) return undefined;
  try {
    const token = parseJoinToken(readFileSync(joinTokenFile, "utf8"));
    if (token.ok) return token.value;
    return giveUp(token.error.map(({ problem }) => `join token ${joinTokenFile}: ${problem}`).join("\n"));
  } catch (error) {
    return giveUp(`join token: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readBankAccess({ bankTokenFile, bankDeadlineMs }: GatewaySettings): EngineOptions["bankAccess"] {
  if (bankTokenFile === undefined) return undefined;
  try {
    const token = readFileSync(bankTokenFile, "utf8").trim();
    if (/^[\x21-\x7e]+$/.test(token)) return { token, deadlineMs: bankDeadlineMs };
    return giveUp(`bank token ${bankTokenFile}: has to be one line of visible ASCII`);
  } catch (error) {
    return giveUp(`bank token: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function orGiveUp(started: Promise<void>): Promise<void> {
  try {
    await started;
  } catch (error) {
    giveUp(error instanceof Error ? error.message : String(error));
  }
}

function overloadLimits({ maxConnections, maxRequests, maxMemoryMb, maxDelayMs }: GatewaySettings): OverloadLimits {
  // Without a control group's limit the first is 0, or more than there is.
  const allowed = Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem());
  const maxMemoryBytes = maxMemoryMb === undefined ? allowed : maxMemoryMb * 1024 * 1024;
  return { maxConnections, maxRequests, maxMemoryBytes, maxDelayMs };
}

function giveUp(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(EXIT_FAILED);
}
