/**
 * Active checks: asks endpoints whether they are well, once per endpoint, question and process, however many clusters and threads want to know.
 *
 * The first answer decides alone; after that a change takes as many answers in a row as the thresholds say. What is known outlives snapshots as long as
 * somebody asks the same of the same endpoint.
 */
import type { Random } from "../core/index.ts";
import type { ClientTls, Cluster, HealthCheck } from "../core/ir/index.ts";
import type { ArmTimer } from "./deadlines.ts";

/** Who is asked, and what. */
export interface ProbeTarget {
  readonly address: string;
  readonly port: number;
  /** The name that the address was resolved from; undefined: it is as configured. */
  readonly hostname: string | undefined;
  readonly check: HealthCheck;
  readonly tls: ClientTls | undefined;
  /** Of the service. */
  readonly host: string;
  /** It speaks HTTP/2 and may speak nothing else. */
  readonly isHttp2: boolean;
  /** Connections to it begin with such a header. */
  readonly proxyProtocol?: Cluster["proxyProtocol"];
}

/** An endpoint of a cluster, by both their names. */
export interface CheckedEndpoint {
  readonly cluster: string;
  readonly key: string;
  readonly target: ProbeTarget;
}

/** Asks once: undefined when all is well, else why not. Settles within the check's timeout, and never throws. */
export type Probe = (target: ProbeTarget) => Promise<string | undefined>;

export interface HealthVerdict {
  readonly cluster: string;
  readonly key: string;
  /** Undefined: well. */
  readonly failure: string | undefined;
}

export interface CheckerOptions {
  readonly probe: Probe;
  readonly random: Random;
  readonly arm: ArmTimer;
  /** An endpoint is well or unwell, and was not before. */
  readonly changed: (verdicts: readonly HealthVerdict[]) => void;
  readonly probed?: (cluster: string, isWell: boolean) => void;
}

/** Probes at the same time; the rest wait their turn. */
export const MAX_PROBING = 64;

interface Watch {
  readonly target: ProbeTarget;
  asked: readonly CheckedEndpoint[];
  /** Undefined: no answer yet. */
  isWell: boolean | undefined;
  failure: string;
  /** Answers in a row that contradict `isWell`. */
  contradictions: number;
  disarm: (() => void) | undefined;
}

export class HealthChecker {
  readonly #options: CheckerOptions;
  readonly #watches = new Map<string, Watch>();
  readonly #line: Watch[] = [];
  #probing = 0;

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  /** These endpoints and no others from now on. Newly come ones that are known to be unwell are told as such. */
  follow(endpoints: readonly CheckedEndpoint[]): void {
    const wanted = Map.groupBy(endpoints, ({ target }) => JSON.stringify(target));
    for (const [id, watch] of this.#watches) {
      if (wanted.has(id)) continue;
      watch.disarm?.();
      watch.asked = [];
      this.#watches.delete(id);
    }
    for (const [id, asked] of wanted) {
      const known = this.#watches.get(id);
      const [first] = asked;
      if (known !== undefined) known.asked = asked;
      else if (first !== undefined) this.#begin(id, first.target, asked);
    }
  }

  /** Everybody who is known to be unwell. */
  failing(): readonly HealthVerdict[] {
    return [...this.#watches.values()].flatMap((watch) => (watch.isWell === false ? verdictsOf(watch) : []));
  }

  close(): void {
    this.follow([]);
    this.#line.length = 0;
  }

  #begin(id: string, target: ProbeTarget, asked: readonly CheckedEndpoint[]): void {
    const watch: Watch = { target, asked, isWell: undefined, failure: "", contradictions: 0, disarm: undefined };
    this.#watches.set(id, watch);
    this.#enqueue(watch);
  }

  #enqueue(watch: Watch): void {
    this.#line.push(watch);
    this.#probeNext();
  }

  #probeNext(): void {
    while (this.#probing < MAX_PROBING) {
      const watch = this.#line.shift();
      if (watch === undefined) return;
      if (watch.asked.length === 0) continue;
      this.#probing++;
      void this.#run(watch).finally(() => {
        this.#probing--;
        this.#probeNext();
      });
    }
  }

  async #run(watch: Watch): Promise<void> {
    const { probe, probed, random, arm } = this.#options;
    const failure = await probe(watch.target);
    if (watch.asked.length === 0) return;
    for (const cluster of new Set(watch.asked.map((one) => one.cluster))) probed?.(cluster, failure === undefined);
    this.#judge(watch, failure);
    const { intervalMs, jitterPercent } = watch.target.check;
    watch.disarm = arm(intervalMs * (1 + (jitterPercent / 100) * random()), () => this.#enqueue(watch));
  }

  #judge(watch: Watch, failure: string | undefined): void {
    const isWell = failure === undefined;
    watch.failure = failure ?? "";
    if (isWell === watch.isWell) {
      watch.contradictions = 0;
      return;
    }
    const { healthyThreshold, unhealthyThreshold } = watch.target.check;
    watch.contradictions++;
    if (watch.isWell !== undefined && watch.contradictions < (isWell ? healthyThreshold : unhealthyThreshold)) return;
    watch.isWell = isWell;
    watch.contradictions = 0;
    this.#options.changed(verdictsOf(watch));
  }
}

function verdictsOf({ asked, isWell, failure }: Watch): readonly HealthVerdict[] {
  return asked.map(({ cluster, key }) => ({ cluster, key, failure: isWell === false ? failure : undefined }));
}
