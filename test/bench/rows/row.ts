/** A row of the table: who does what under which load, and the bars that the figures are held to. */
import type { Bar } from "../bars.ts";
import type { Generator } from "../load/generator.ts";
import type { OriginName } from "../origins.ts";
import type { Peer } from "../peers/peer.ts";
import type { Results } from "../results.ts";
import type { Workload } from "../workload.ts";

export interface Row {
  /** As `--only` takes it. */
  readonly name: string;
  /** Short, for chart and page. */
  readonly label: string;
  readonly title: string;
  /** What is counted: `requests`, `MiB`, `connections`. */
  readonly unit: string;
  readonly origin: OriginName;
  readonly generator: Generator;
  /** What each contender has served, and for how many seconds, before its first round: for a row whose own load is too light to take a runtime out of its first minute. */
  readonly served?: { readonly generator: Generator; readonly seconds: number };
  readonly contenders: readonly Contender[];
  /** Default: the load's core. */
  readonly loadCpus?: string;
  bars(results: Results): readonly Bar[];
}

export interface Contender {
  /** The peer's name, but where one peer takes part twice. */
  readonly name: string;
  readonly peer: Peer;
  readonly workload: Workload;
  /** Default: the proxy's core. */
  readonly cpus?: string;
}

/** Each of them under the same workload, by its own name. */
export function contenders(workload: Workload, ...peers: readonly Peer[]): readonly Contender[] {
  return peers.map((peer) => ({ name: peer.name, peer, workload }));
}
