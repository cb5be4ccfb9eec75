/** What is told about finished requests: a line in the access log, and numbers. One per thread. */
import {
  type Clock,
  REQUEST_BYTES,
  REQUEST_DURATION,
  REQUESTS_TOTAL,
  RESPONSE_BYTES,
  type Reporter,
  type RequestRecord,
  requestLabels,
  writeAccessLog,
} from "../core/index.ts";
import type { Settings } from "../core/ir/index.ts";
import type { LogFile } from "./log-file.ts";
import type { Counter, Histogram, MetricsBlock } from "./metrics.ts";
import type { Overload } from "./overload.ts";

/** The series of requests that are alike. */
interface RequestSeries {
  readonly total: Counter;
  readonly duration: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
}

/** By cluster, then TLS and principal, then statuses, then flags: four look-ups, and no string is made per request. */
type SeriesTree = Map<string, Map<string, Map<number, Map<string, RequestSeries>>>>;

/** Puts a gRPC status above an HTTP one in the same number. */
const GRPC_KEY = 1024;

export class RequestReporter implements Reporter {
  readonly #clock: Clock;
  readonly #log: LogFile;
  readonly #metrics: MetricsBlock;
  readonly #series: SeriesTree = new Map();
  /** Counts the requests that are under way: all that are opened are reported once. */
  readonly #overload: Overload;
  #logging = false;

  constructor(clock: Clock, log: LogFile, metrics: MetricsBlock, overload: Overload) {
    this.#clock = clock;
    this.#log = log;
    this.#metrics = metrics;
    this.#overload = overload;
  }

  /** Takes over the settings of a snapshot. */
  configure({ accessLog }: Settings): void {
    this.#logging = accessLog.enabled;
    if (accessLog.enabled) this.#log.target(accessLog.path);
  }

  request(record: RequestRecord): void {
    this.#overload.requests -= 1;
    this.shed(record);
  }

  /** A request that was never under way. */
  shed(record: RequestRecord): void {
    const series = this.#seriesOf(record);
    series.total.add(1);
    series.duration.observe(record.durationMs);
    series.requestBytes.observe(record.requestBytes);
    series.responseBytes.observe(record.responseBytes);
    if (!this.#logging) return;
    const log = this.#log;
    if (!log.begin()) return;
    writeAccessLog(record, this.#clock.unixMs() - (this.#clock.now() - record.startedMs), log);
    log.end();
  }

  #seriesOf(record: RequestRecord): RequestSeries {
    const { peer } = record;
    const byPeer = child(this.#series, record.clusterName ?? "");
    const byStatus = child(byPeer, peer.tls === undefined ? "" : (peer.principal ?? "tls"));
    const byFlags = child(byStatus, record.status + (record.grpcStatus === undefined ? 0 : GRPC_KEY * (record.grpcStatus + 1)));
    const known = byFlags.get(record.flags);
    if (known !== undefined) return known;
    const labels = requestLabels(record);
    const series: RequestSeries = {
      total: this.#metrics.counter(REQUESTS_TOTAL, labels),
      duration: this.#metrics.histogram(REQUEST_DURATION, labels),
      requestBytes: this.#metrics.histogram(REQUEST_BYTES, labels),
      responseBytes: this.#metrics.histogram(RESPONSE_BYTES, labels),
    };
    byFlags.set(record.flags, series);
    return series;
  }
}

function child<Key, Inner, Value>(map: Map<Key, Map<Inner, Value>>, key: Key): Map<Inner, Value> {
  let inner = map.get(key);
  if (inner === undefined) {
    inner = new Map();
    map.set(key, inner);
  }
  return inner;
}
