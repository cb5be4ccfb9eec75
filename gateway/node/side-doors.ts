/** The ports of the operator's side doors: opened together, or beside those of the gateway before, and let go together. */
import type { AddressInfo, Server } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { OpenPort } from "./engine.ts";
import { closeUnnoticed, descriptorOf, HANDSHAKE_QUIET_MS, isBusy, SHARES_PORTS } from "./ports.ts";

export interface SideDoor {
  readonly name: "admin" | "metrics" | "readiness";
  readonly server: Server;
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
}

export class SideDoors {
  readonly #doors: readonly SideDoor[];

  private constructor(doors: readonly SideDoor[]) {
    this.#doors = doors;
  }

  /**
   * @param shared `address:port` of what the gateway before this one listens on
   * @throws Error that names a port which cannot be had
   */
  static async open(doors: readonly SideDoor[], shared: ReadonlySet<string>): Promise<SideDoors> {
    await Promise.all(doors.map((door) => listen(door, shared)));
    return new SideDoors(doors);
  }

  /** Where each of them is. */
  get addresses(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.#doors.map(({ name, server }) => {
        const bound = server.address() as AddressInfo;
        return [name, `${bound.address}:${bound.port}`];
      }),
    );
  }

  /** As they were asked for. */
  get sockets(): readonly OpenPort[] {
    return this.#doors.map(({ server, address }) => ({
      place: `${address}:${(server.address() as AddressInfo).port}`,
      sockets: 1,
      descriptor: descriptorOf(server),
    }));
  }

  /** Whoever asks from now on asks the next gateway, which gets the new connections already. */
  async letGo(): Promise<void> {
    await pause(HANDSHAKE_QUIET_MS);
    await Promise.all(this.#doors.map(({ server }) => closeUnnoticed(server)));
  }
}

async function listen({ name, server, address, port }: SideDoor, shared: ReadonlySet<string>): Promise<void> {
  const busy = SHARES_PORTS && port !== 0 && !shared.has(`${address}:${port}`) && (await isBusy(address, port));
  const problem = busy ? "is in use by another process" : await bind(server, address, port);
  if (problem !== undefined) throw new Error(`${name} port ${address}:${port} ${problem}: choose another with --${name}-port`);
}

function bind(server: Server, host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    server.once("error", (error: Error & { code?: string }) =>
      resolve(error.code === "EADDRINUSE" ? "is in use by another process" : error.message),
    );
    server.listen({ host, port, reusePort: SHARES_PORTS, exclusive: true }, () => resolve(undefined));
  });
}
