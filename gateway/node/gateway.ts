/**
 * The gateway process from its first port to its last request: side doors, tunnels, and who came before and comes after.
 *
 *     first of its state directory:   open ──► snapshot in force ──► awaitSuccessor ──► end
 *     a later one:                    snapshot in force ──► takeOver ──► awaitSuccessor ──► end
 *
 * A later one opens its side doors only when it serves: nobody who asks for readiness ever hears that there is nothing yet.
 */
import type { FSWatcher } from "node:fs";
import { adminServer, metricsServer, readinessServer } from "./admin.ts";
import type { ControlClient } from "./control.ts";
import type { Engine, OpenPort } from "./engine.ts";
import { type Handing, HandoverDoor, type Predecessor } from "./handover.ts";
import type { Log } from "./log.ts";
import type { MetricsRegistry } from "./metrics.ts";
import type { GatewaySettings } from "./settings.ts";
import { SideDoors } from "./side-doors.ts";
import { liftSteering, type SharedSocket, steer } from "./steering/steering.ts";
import type { TunnelClient } from "./tunnel-client.ts";

/** Before the first snapshot nobody has said how long to drain. */
const DEFAULT_DRAIN_MS = 45_000;

export interface GatewayOptions {
  readonly settings: GatewaySettings;
  readonly engine: Engine;
  readonly metrics: MetricsRegistry;
  /** Not started yet; undefined: takes no requests from edge sites. */
  readonly tunnels: TunnelClient | undefined;
  readonly log: Log;
  /** Everything is over. */
  readonly exit: () => void;
}

export class Gateway {
  readonly #options: GatewayOptions;
  #control: ControlClient | undefined;
  #watcher: FSWatcher | undefined;
  #doors: SideDoors | undefined;
  #handover: HandoverDoor | undefined;
  /** The ports that this gateway has taken over are its alone. */
  #settled: Promise<void> = Promise.resolve();
  /** No request begins here any more, or soon. */
  #ending = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
  }

  /** Where snapshots come from: ended with the rest. */
  fedBy(source: { readonly control: ControlClient } | { readonly watcher: FSWatcher }): void {
    if ("control" in source) this.#control = source.control;
    else this.#watcher = source.watcher;
  }

  /**
   * Opens the side doors and dials the tunnels.
   *
   * @param shared `address:port` of what the gateway before still listens on
   * @throws Error that names a port which cannot be had
   */
  async open(shared: ReadonlySet<string>): Promise<void> {
    const { settings, engine, metrics, tunnels, log } = this.#options;
    const options = { engine, metrics, control: () => this.#control?.status(), drain: () => void this.end() };
    const { adminPort, metricsAddress, metricsPort, readinessAddress, readinessPort } = settings;
    this.#doors = await SideDoors.open(
      [
        { name: "admin", server: adminServer(options), address: "127.0.0.1", port: adminPort },
        { name: "metrics", server: metricsServer(options), address: metricsAddress, port: metricsPort },
        { name: "readiness", server: readinessServer(options), address: readinessAddress, port: readinessPort },
      ],
      shared,
    );
    const { gatewayId: gateway, pool, threads } = settings;
    log("info", "gateway started", { gateway, pool, threads, ...this.#doors.addresses });
    tunnels?.start();
  }

  /**
   * With the snapshot in force, on the ports of the gateway before: opens, gets the new connections, and tells that one to end.
   *
   * @throws Error when that one had better go on
   */
  async takeOver(before: Predecessor): Promise<void> {
    const { engine, log } = this.#options;
    const { pid, handing } = before;
    const goesOn = `the gateway before (process ${pid}) goes on`;
    const { version, problems } = engine.status;
    if (version === undefined && handing.version !== undefined) throw new Error(`there is no snapshot to serve; ${goesOn}`);
    const lost = problems.find(({ name }) => name in handing.sockets);
    if (lost !== undefined) throw new Error(`${lost.reason}; ${goesOn}`);
    await this.open(new Set(Object.keys(handing.sockets)));
    const shared = await this.#sharedSockets(handing);
    const unsteered = await steer(shared);
    if (unsteered !== undefined)
      log("warn", "connections that are made while the ports are taken over may be reset", { reason: unsteered });
    if (!(await before.release())) log("warn", "the gateway before went away while it was taken over from", { from: pid });
    this.#settled = before.closed().then(() => this.#lift(unsteered === undefined ? shared : []));
    log("info", "took over", { from: pid });
  }

  async #lift(steered: readonly SharedSocket[]): Promise<void> {
    const reason = await liftSteering(steered);
    if (reason !== undefined) this.#options.log("warn", "connections are not spread evenly over threads", { reason });
  }

  async #sharedSockets({ sockets }: Handing): Promise<readonly SharedSocket[]> {
    return (await this.#openPorts()).flatMap(({ place, sockets: own, descriptor: fd }) => {
      const before = sockets[place];
      return before === undefined || fd === undefined ? [] : [{ fd, before, own }];
    });
  }

  async #openPorts(): Promise<readonly OpenPort[]> {
    return [...(await this.#options.engine.sockets()), ...(this.#doors?.sockets ?? [])];
  }

  /** From when on the one before listens no more, the next process with this state directory may take over. */
  async awaitSuccessor(): Promise<void> {
    const { settings, log } = this.#options;
    await this.#settled;
    if (settings.state === undefined || this.#ending) return;
    try {
      this.#handover = await HandoverDoor.open(settings.state, {
        handing: () => this.#handing(),
        release: async () => {
          this.#watcher?.close();
          await this.#control?.stop();
        },
        letGo: (successor) => this.#succeeded(successor),
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log("warn", "no other process can take over from this one", { reason });
    }
  }

  /** Ends without failing a request. */
  async end(): Promise<void> {
    if (this.#ending) return;
    const { engine, tunnels } = this.#options;
    const untilMs = this.#begin({});
    engine.startDraining();
    // First no more requests by tunnels, then none from anybody.
    await tunnels?.quiet();
    await engine.letGo(untilMs - performance.now(), false);
    await this.#finish(untilMs);
  }

  /** Another process serves in its place: that is as ready as it was. Resolves when the ports are its alone. */
  async #succeeded(successor: number): Promise<void> {
    // A gateway that was ending already goes on with that.
    if (this.#ending) return await this.#doors?.letGo();
    const { engine, tunnels } = this.#options;
    const untilMs = this.#begin({ successor });
    await this.#doors?.letGo();
    await tunnels?.quiet();
    await engine.letGo(untilMs - performance.now(), true);
    void this.#finish(untilMs);
  }

  /** @returns when what is left has to be cut, by `performance.now()` */
  #begin(fields: Readonly<Record<string, unknown>>): number {
    const { engine, log } = this.#options;
    const withinMs = engine.snapshot?.settings.http.drainTimeoutMs ?? DEFAULT_DRAIN_MS;
    this.#ending = true;
    log("info", "draining", { withinMs, ...fields });
    this.#watcher?.close();
    return performance.now() + withinMs;
  }

  async #finish(untilMs: number): Promise<void> {
    const { engine, tunnels, log, exit } = this.#options;
    await engine.finish(Math.max(0, untilMs - performance.now()));
    tunnels?.stop();
    await this.#control?.stop();
    this.#handover?.close();
    log("info", "ended", {});
    exit();
  }

  async #handing(): Promise<Handing> {
    const { settings, engine } = this.#options;
    const sockets = Object.fromEntries((await this.#openPorts()).map(({ place, sockets: count }) => [place, count]));
    return { gatewayId: settings.gatewayId, sockets, version: engine.status.version };
  }
}
