/** A proxy under test: given the origin's port, it listens on its own and forwards there. */
import type { Running } from "../../tools/processes.ts";
import type { Workload } from "../workload.ts";

export interface Peer {
  readonly name: string;
  /** Why it cannot run here, or undefined. May install what is missing. */
  missing(): string | undefined;
  /** @throws Error when it does not take the configuration or does not come up: the row then says so. */
  start(options: PeerOptions): Promise<RunningPeer>;
}

export interface PeerOptions {
  readonly workload: Workload;
  readonly port: number;
  readonly originPort: number;
  readonly originProcess: Running;
  /** Scratch folder of this run. */
  readonly directory: string;
  /** Processors to be pinned to. */
  readonly cpus: string;
  readonly tls: TlsFiles;
}

/** One certificate for every proxy: ECDSA over P-256. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Both in one, as HAProxy has it. */
  readonly combined: string;
}

export interface RunningPeer {
  readonly port: number;
  readonly process: Running;
  /** Asked after a round under the full chain: which of its features has left no trace, so that nobody is measured without what the others do. */
  idleFeature?(): Promise<string | undefined>;
}
