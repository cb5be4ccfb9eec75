/** The ports that `tidegate up` needs, and whether they are free: asked before anything starts, so that one message says it all. */
import { createServer } from "node:net";
import type { PlannedPool } from "../offline.ts";

/** Side doors of a pool's gateway on this machine. */
export interface SideDoors {
  readonly admin: number;
  readonly metrics: number;
  readonly readiness: number;
}

export interface UpPorts {
  readonly api: number;
  readonly grpc: number;
  /** In the mesh's order. */
  readonly pools: ReadonlyMap<string, SideDoors>;
}

interface WantedPort {
  readonly what: string;
  readonly host: string;
  readonly port: number;
  readonly remedy: string;
}

const LOOPBACK = "127.0.0.1";
/** The first pool's side doors are at the usual ports, the next one's a hundred further on. */
const POOL_STEP = 100;

/** @param offset added to every port but the listeners', which come from the configuration. */
export function upPorts(pools: readonly string[], offset: number): UpPorts {
  const doors = pools.map((pool, index) => {
    const step = index * POOL_STEP + offset;
    return [pool, { admin: 15_000 + step, metrics: 15_090 + step, readiness: 15_021 + step }] as const;
  });
  return { api: 15_080 + offset, grpc: 15_012 + offset, pools: new Map(doors) };
}

/** One sentence for each port that cannot be had. */
export async function takenPorts(ports: UpPorts, pools: readonly PlannedPool[]): Promise<readonly string[]> {
  const remedy = "choose others with --port-offset";
  const wanted: WantedPort[] = [
    { what: "the API", host: LOOPBACK, port: ports.api, remedy },
    { what: "the control plane's gateways", host: LOOPBACK, port: ports.grpc, remedy },
    ...[...ports.pools].flatMap(([pool, doors]) =>
      Object.entries(doors).map(([door, port]) => ({ what: `${pool}'s ${door}`, host: LOOPBACK, port, remedy })),
    ),
    ...pools.flatMap(({ name, listeners }) =>
      listeners.map(({ bind, port }) => ({
        what: `pool ${name}`,
        host: bind,
        port,
        remedy: "choose another in MeshConfig's gatewayPools",
      })),
    ),
  ];
  const told = await Promise.all(wanted.map(async (one) => ({ one, why: await whyTaken(one.host, one.port) })));
  return told.flatMap(({ one, why }) => (why === undefined ? [] : [sentence(one, why)]));
}

/** Why something cannot listen on a port of this machine; undefined: it can. */
export async function portTaken(what: string, port: number, remedy: string): Promise<string | undefined> {
  const why = await whyTaken(LOOPBACK, port);
  return why === undefined ? undefined : sentence({ what, host: LOOPBACK, port, remedy }, why);
}

function sentence({ what, host, port, remedy }: WantedPort, why: string): string {
  return `port ${host}:${port} for ${what} ${why}: stop what has it, or ${remedy}`;
}

function whyTaken(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: Error & { code?: string }) =>
      resolve(error.code === "EADDRINUSE" ? "is in use by another process" : `cannot be bound (${error.message})`),
    );
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
