/** The gateway process: settings → threads, side doors, and a source of snapshots. */
import { type FSWatcher, readFileSync, watch } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import type { AddressInfo, Server } from "node:net";
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
import { adminServer, metricsServer, readinessServer } from "./admin.ts";
import { armSystemTimer } from "./clock.ts";
import { ControlClient } from "./control.ts";
import { ControlStore } from "./control-store.ts";
import { EndpointReporter } from "./endpoint-report.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import { createLog } from "./log.ts";
import { MetricsBlock, MetricsRegistry } from "./metrics.ts";
import { type GatewaySettings, readSettings, usage } from "./settings.ts";
import { TunnelClient } from "./tunnel-client.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** Before the first snapshot nobody has said how long to drain. */
const DEFAULT_DRAIN_MS = 45_000;
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

const read = readSettings({ argv: process.argv.slice(2), env: process.env, readFile: (path) => readFileSync(path, "utf8") });
if (!read.ok) {
  for (const { path, problem } of read.error) process.stderr.write(`${path}: ${problem}\n`);
  process.exit(EXIT_USAGE);
}
if (read.value === "help") {
  process.stdout.write(usage());
  process.exit(0);
}
await run(read.value);

async function run(settings: GatewaySettings): Promise<void> {
  const joinToken = readJoinToken(settings);
  const store = settings.control === undefined ? undefined : openState(settings.state);
  const metrics = new MetricsRegistry();
  const engine = new Engine({
    threads: settings.threads,
    bankAccess: readBankAccess(settings),
    metrics,
    secrets: resolve(settings.secrets),
    locality: settings.locality,
    nameServers: settings.nameServers,
    log,
    problemsChanged: (problems) => control?.problemsChanged(problems),
  });
  const tunnels = openTunnels(settings, engine, metrics);
  let control: ControlClient | undefined;
  let watcher: FSWatcher | undefined;
  let ending = false;
  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    const withinMs = engine.snapshot?.settings.http.drainTimeoutMs ?? DEFAULT_DRAIN_MS;
    log("info", "draining", { withinMs });
    watcher?.close();
    engine.startDraining();
    // First no more requests by tunnels, then none from anybody.
    await tunnels?.quiet();
    await engine.drain(withinMs);
    tunnels?.stop();
    await control?.stop();
    log("info", "ended", {});
    process.exit(0);
  };
  const options = { engine, metrics, control: () => control?.status(), drain: () => void end() };
  const doors = [
    { name: "admin", server: adminServer(options), address: "127.0.0.1", port: settings.adminPort },
    { name: "metrics", server: metricsServer(options), address: settings.metricsAddress, port: settings.metricsPort },
    { name: "readiness", server: readinessServer(options), address: settings.readinessAddress, port: settings.readinessPort },
  ];
  const opened = await Promise.all(
    doors.map(async ({ name, server, address, port }) => ({ name, at: await listen(server, name, address, port) })),
  );
  process.on("SIGTERM", () => void end());
  process.on("SIGINT", () => void end());
  log("info", "gateway started", {
    gateway: settings.gatewayId,
    pool: settings.pool,
    threads: settings.threads,
    ...Object.fromEntries(opened.map(({ name, at }) => [name, at])),
  });
  if (store === undefined || settings.control === undefined) {
    const path = resolve(settings.snapshot ?? "");
    if (!(await runFile(engine, path))) process.exit(EXIT_FAILED);
    watcher = watchFile(path, () => void runFile(engine, path));
    process.on("SIGHUP", () => {
      engine.reopenLogs();
      void runFile(engine, path);
    });
    return;
  }
  process.on("SIGHUP", () => engine.reopenLogs());
  const reporter = new EndpointReporter({
    endpoints: () => engine.endpoints(),
    send: (report) => control?.report(report) === true,
    arm: armSystemTimer,
  });
  engine.watchEndpoints(() => reporter.changed());
  control = new ControlClient({
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
  try {
    await control.start();
  } catch (error) {
    giveUp(error instanceof Error ? error.message : String(error));
  }
}

/** Dials at once; until there is a snapshot that says which cluster this is, it only tries. */
function openTunnels(settings: GatewaySettings, engine: Engine, metrics: MetricsRegistry): TunnelClient | undefined {
  const { tunnel, tunnelTokenFile, tunnelConnections } = settings;
  if (tunnel.length === 0 || tunnelTokenFile === undefined) return undefined;
  const { memory, announce } = metrics.block();
  const client = new TunnelClient({
    sites: tunnel,
    connections: tunnelConnections,
    readToken: () => readFileSync(tunnelTokenFile, "utf8").trim(),
    snapshot: () => engine.snapshot,
    metrics: new MetricsBlock(memory, announce),
    random: Math.random,
    log,
  });
  client.start();
  return client;
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

function openState(directory: string): ControlStore {
  try {
    return new ControlStore(directory);
  } catch (error) {
    return giveUp(error instanceof Error ? error.message : String(error));
  }
}

function listen(server: Server, name: string, address: string, port: number): Promise<string> {
  return new Promise((resolveListening) => {
    server.once("error", (error: Error & { code?: string }) => {
      const why = error.code === "EADDRINUSE" ? "is in use by another process" : error.message;
      giveUp(`${name} port ${address}:${port} ${why}: choose another with --${name}-port`);
    });
    server.listen({ host: address, port }, () => {
      const bound = server.address() as AddressInfo;
      resolveListening(`${bound.address}:${bound.port}`);
    });
  });
}

function giveUp(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(EXIT_FAILED);
}
