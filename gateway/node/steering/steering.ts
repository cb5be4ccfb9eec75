/**
 * While two gateways have the same ports, new connections go to the newer one alone: then the older one closes its sockets when the last connection that was
 * on its way to it has come, and none is lost. Without steering the kernel spreads connections over both, and may have just made one that a closing socket resets.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { entryUrl } from "../entries.ts";

/** One of our listening sockets of a port that is shared with the gateway before. */
export interface SharedSocket {
  readonly fd: number;
  /** How many sockets the gateway before has there: they come first. */
  readonly before: number;
  /** How many this one has. */
  readonly own: number;
}

const MAIN = fileURLToPath(entryUrl("steering/main"));
/** Node starts, makes a few calls and ends. */
const STEERING_MS = 10_000;

/**
 * A socket that is closed leaves its number to the last one, so with each that the gateway before closes the last of our numbers stands for nothing any more.
 * Connections go to the numbers that are ours until it closes its last one; where it has more sockets than we, to one, which is ours for some of the time.
 *
 * @returns why it could not be done
 */
export function steer(sockets: readonly SharedSocket[]): Promise<string | undefined> {
  return run(
    sockets,
    sockets.map(({ before, own }) => `${before}/${Math.max(1, own - before + 1)}`),
  );
}

/** The kernel spreads connections again. @returns why it could not be done */
export function liftSteering(sockets: readonly SharedSocket[]): Promise<string | undefined> {
  return run(
    sockets,
    sockets.map(() => "lift"),
  );
}

function run(sockets: readonly SharedSocket[], orders: readonly string[]): Promise<string | undefined> {
  if (sockets.length === 0) return Promise.resolve(undefined);
  const child = spawn(process.execPath, [MAIN, ...orders], {
    stdio: ["ignore", "ignore", "pipe", ...sockets.map(({ fd }) => fd)],
    timeout: STEERING_MS,
  });
  let told = "";
  child.stderr?.on("data", (bytes) => {
    told += String(bytes);
  });
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code) => resolve(code === 0 ? undefined : (/^\w*Error.*$/m.exec(told)?.[0] ?? `exit code ${code}`)));
  });
}
