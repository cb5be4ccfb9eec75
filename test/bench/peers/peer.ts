/** A proxy under test: given the origin's port, it listens on its own and forwards there. */
import type { Running } from "../../tools/processes.ts";
import type { Workload } from "../workload.ts";

export interface Peer {
  readonly name: string;
  /** Why it cannot run here, or undefined. May install what is missing. */
  missing(): string | undefined;
  /** @param directory scratch folder of this run; @param cpu processor to be pinned to. */
  start(options: PeerOptions): Promise<Running>;
}

export interface PeerOptions {
  readonly workload: Workload;
  readonly port: number;
  readonly originPort: number;
  readonly directory: string;
  readonly cpu: number;
}
