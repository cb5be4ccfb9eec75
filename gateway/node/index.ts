/**
 * Node: sockets, threads and files for a gateway. It carries out what core decides and feeds what wire reads.
 *
 * Invariant: a request is held against one snapshot from its head to its end; a message that was cut is never passed on as if it were whole; nothing of a body
 * is kept that need not be; a swap or a drain loses no connection. What cannot be opened is named and leaves the rest working.
 * It must never decide where a request goes or whether it may: that is core's. It must never ask the control plane anything to serve a request.
 */
export { ControlClient, type ControlStatus } from "./control.ts";
export type { Installer, InstallOutcome, NamedProblem } from "./control-snapshot.ts";
export { ControlStore } from "./control-store.ts";
export { Engine, type EngineOptions, type EngineStatus } from "./engine.ts";
export type { ConnectionInfo, ExchangeFactory } from "./exchange.ts";
export { createLog, type Log, type LogLevel } from "./log.ts";
export { MetricsRegistry } from "./metrics.ts";
export { type GatewaySettings, readSettings } from "./settings.ts";
