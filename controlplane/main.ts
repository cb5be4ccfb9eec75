/** The control plane process: settings → running. The one file that wires its rooms together. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, watch, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { getRequestListener } from "@hono/node-server";
import packageJson from "../package.json" with { type: "json" };
import { createApi } from "./api/index.ts";
import { ConfigStore, DIRECTORY_ORIGIN, DirectorySource, SqliteStore, type Validation } from "./config/index.ts";
import { diskFiles } from "./disk-files.ts";
import { DistributionServer, EdgeDistribution, Enrolment, loadServerIdentity } from "./distribute/index.ts";
import { statePaths } from "./layout.ts";
import { type Log, makeLog } from "./log.ts";
import { meshOf } from "./pipeline.ts";
import { ControlPlane } from "./plane.ts";
import { secretDirectory } from "./secrets.ts";
import { type ControlPlaneSettings, readSettings } from "./settings.ts";
import { DEFAULT_KEY_PLAN, initKeys, type KeyRing, loadKeys, SnapshotHistory, SnapshotPublisher } from "./snapshot/index.ts";

/** How often signatures are looked at; they are renewed long before they grow stale. */
const RENEW_CHECK_MS = 60_000;
/** How often it is written down when gateways were last seen. */
const FLUSH_MS = 5_000;
/** Quiet time after a change of keys or secrets. */
const KEYS_SETTLE_MS = 200;

const outcome = readSettings(process.argv.slice(2), process.env);
if (outcome.kind === "help") {
  process.stdout.write(outcome.text);
} else if (outcome.kind === "refused") {
  process.stderr.write(outcome.problems.map((problem) => `control plane: ${problem}\n`).join(""));
  process.exitCode = 2;
} else {
  const { logFormat } = outcome.settings;
  const readable = logFormat === "readable" || (logFormat === "auto" && process.stderr.isTTY === true);
  const log = makeLog((line) => process.stderr.write(line), readable, Date.now);
  run(outcome.settings, log).catch((error: unknown) => {
    log("error", "the control plane could not start", { reason: error instanceof Error ? error.message : String(error) });
    process.exit(1);
  });
}

async function run(settings: ControlPlaneSettings, log: Log): Promise<void> {
  const paths = statePaths(settings.state);
  prepareState(settings.state);
  prepareSecrets(settings.secrets);
  const missing = settings.config.filter((directory) => !existsSync(directory) || !statSync(directory).isDirectory());
  if (missing.length > 0) throw new Error(`--config ${missing.join(", ")}: no such directory; make it or name another one`);
  const persistence = value(SqliteStore.open(paths.config));
  const store = new ConfigStore({ persistence, nowMs: Date.now, files: diskFiles });
  const sources = readDirectories(settings.config, store, log);
  const keys = await openKeys(paths.keys, meshOf(store.set.resources).trustDomain, log);
  const history = await SnapshotHistory.open(paths.snapshots);
  const publisher = new SnapshotPublisher({ history, keys, clock: { unixMs: Date.now } });
  const identity = await loadServerIdentity(paths.tls, settings.grpcNames, Date.now());
  const enrolment = new Enrolment(paths.enrolment, Date.now);
  const secrets = secretDirectory(settings.secrets);
  const plane = new ControlPlane({ store, publisher, history, keys, enrolment, secrets, ca: identity.ca, now: Date.now, log });
  const distribution = new DistributionServer({
    snapshots: plane.publishing,
    enrolment,
    identity,
    now: Date.now,
    onChange: () => plane.gatewayChanged(),
    log: (message, fields) => log("info", message, fields),
  });
  const edge = new EdgeDistribution({
    snapshots: plane.publishing,
    now: Date.now,
    random: Math.random,
    onChange: () => plane.gatewayChanged(),
    log: (message, fields) => log("info", message, fields),
  });
  const grpcPort = await distribution.listen(settings.grpcHost, settings.grpcPort);
  const token = loadToken(paths.apiToken);
  const api = await listenApi(createApi({ operations: plane, token, version: packageJson.version }), settings);
  // Before the first pass reads them, so that none is missed in between.
  const stopSecrets = watchSettled(settings.secrets, () => plane.publishing.queue());
  await plane.start(distribution, edge);
  const stopWatching = [
    watchSettled(paths.keys, () => {
      takeKeys(paths.keys, plane).catch((error: unknown) => {
        log("warn", "keys on disk cannot be used; going on with those in force", {
          reason: error instanceof Error ? error.message : String(error),
        });
      });
    }),
    stopSecrets,
  ];
  const renewal = setInterval(() => void plane.publishing.renew(), RENEW_CHECK_MS);
  const flushing = setInterval(() => enrolment.flush(), FLUSH_MS);
  log("info", "control plane ready", {
    api: `http://${settings.apiHost}:${portOf(api)}`,
    gateways: `${settings.grpcHost}:${grpcPort}`,
    config: settings.config,
    objects: store.set.resources.length,
  });

  const stop = async (signal: string): Promise<void> => {
    log("info", "stopping", { signal });
    clearInterval(renewal);
    clearInterval(flushing);
    for (const stopOne of stopWatching) stopOne();
    for (const source of sources) source.close();
    api.close();
    api.closeAllConnections();
    await Promise.all([distribution.close(), edge.close()]);
    enrolment.close();
    persistence.close();
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop("SIGTERM"));
  process.once("SIGINT", () => void stop("SIGINT"));
}

function prepareState(state: string): void {
  try {
    mkdirSync(state, { recursive: true, mode: 0o700 });
    writeFileSync(join(state, ".writable"), "");
    rmSync(join(state, ".writable"));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`state directory ${state}: ${reason}; give a directory that this user can write to with --state`);
  }
}

/** It has to be there to be watched. */
function prepareSecrets(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`secrets directory ${directory}: ${reason}; name another one with --secrets`);
  }
}

/** Every directory is a source of its own name; the first one has precedence. */
function readDirectories(directories: readonly string[], store: ConfigStore, log: Log): DirectorySource[] {
  const contents = new Map<string, Validation>();
  return directories.map((root) => {
    const source = new DirectorySource({
      root,
      validate: (text, file) => store.validate(text, file),
      publish: (validation) => {
        contents.set(root, validation);
        const all = directories.flatMap((directory) => contents.get(directory) ?? []);
        const set = store.replace(
          DIRECTORY_ORIGIN,
          { objects: all.flatMap(({ objects }) => objects), problems: all.flatMap(({ problems }) => problems) },
          root,
        );
        const refused = set.objects.filter(({ problems }) => problems.some(({ severity }) => severity === "error")).length;
        log(refused > 0 ? "warn" : "info", "configuration read", {
          directory: root,
          objects: validation.objects.length,
          refused,
        });
      },
      after: (ms, work) => {
        const timer = setTimeout(work, ms);
        return () => clearTimeout(timer);
      },
    });
    source.start();
    return source;
  });
}

async function openKeys(directory: string, trustDomain: string, log: Log): Promise<KeyRing> {
  const nowS = Math.floor(Date.now() / 1000);
  if (!existsSync(directory) || !(await loadKeys(directory)).ok) {
    const made = await initKeys(directory, { ...DEFAULT_KEY_PLAN, iss: trustDomain }, nowS);
    if (made.ok) {
      log("info", "made signing keys and a trust root", { directory, pin: made.value.pin });
      return made.value;
    }
  }
  return value(await loadKeys(directory));
}

/** Runs `work` when a change below the directory is over: a rotation writes keys, `tidegate edge keys` secrets. */
function watchSettled(directory: string, work: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const watcher = watch(directory, { recursive: true }, () => {
    clearTimeout(timer);
    timer = setTimeout(work, KEYS_SETTLE_MS);
  });
  return () => {
    clearTimeout(timer);
    watcher.close();
  };
}

async function takeKeys(directory: string, plane: ControlPlane): Promise<void> {
  const ring = value(await loadKeys(directory));
  const { root, signers } = plane.publishing.keys;
  const same = root.hash === ring.root.hash && signers.map(({ kid }) => kid).join() === ring.signers.map(({ kid }) => kid).join();
  if (!same) await plane.publishing.useKeys(ring);
}

function loadToken(file: string): string {
  if (existsSync(file)) {
    const token = readFileSync(file, "utf8").trim();
    if (/^[\w-]{32,}$/.test(token)) return token;
    throw new Error(`${file} is damaged: remove it, and the next start makes a new token`);
  }
  const token = randomBytes(32).toString("base64url");
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}

async function listenApi(app: ReturnType<typeof createApi>, { apiHost, apiPort }: ControlPlaneSettings): Promise<Server> {
  const server = createServer(getRequestListener(app.fetch));
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: Error) =>
      reject(new Error(`API: cannot listen on ${apiHost}:${apiPort}: ${error.message}; choose another port with --api-port`)),
    );
    server.listen(apiPort, apiHost, resolve);
  });
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function value<T>(result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown }): T {
  if (result.ok) return result.value;
  const { error } = result;
  throw new Error(Array.isArray(error) ? error.map(({ path, problem }) => `${path}: ${problem}`).join("; ") : String(error));
}
