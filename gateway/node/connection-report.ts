/** What is told about opaque connections: a line in the access log, and numbers. One per thread. */
import {
  type Clock,
  CONNECTION_RECEIVED_BYTES,
  CONNECTION_SENT_BYTES,
  CONNECTIONS_CLOSED,
  CONNECTIONS_OPENED,
  type ConnectionFacts,
  type ConnectionRecord,
  type ConnectionReporter,
  connectionLabels,
  connectionLogLine,
  type IncomingConnection,
} from "../core/index.ts";
import type { Settings } from "../core/ir/index.ts";
import type { LogFile } from "./log-file.ts";
import type { Counter, MetricsBlock } from "./metrics.ts";

interface ConnectionSeries {
  readonly opened: Counter;
  readonly closed: Counter;
  readonly sentBytes: Counter;
  readonly receivedBytes: Counter;
}

/** Of a connection that is open. */
const NO_FLAGS = "-";

export class ConnectionReports implements ConnectionReporter {
  readonly #clock: Clock;
  readonly #log: LogFile;
  readonly #metrics: MetricsBlock;
  /** By what makes their labels. */
  readonly #series = new Map<string, ConnectionSeries>();
  #logging = false;

  constructor(clock: Clock, log: LogFile, metrics: MetricsBlock) {
    this.#clock = clock;
    this.#log = log;
    this.#metrics = metrics;
  }

  /** Takes over the settings of a snapshot. */
  configure({ accessLog }: Settings): void {
    this.#logging = accessLog.enabled;
  }

  opened(facts: ConnectionFacts): void {
    this.#seriesOf(facts, NO_FLAGS).opened.add(1);
  }

  moved(facts: ConnectionFacts, receivedBytes: number, sentBytes: number): void {
    const series = this.#seriesOf(facts, NO_FLAGS);
    series.receivedBytes.add(receivedBytes);
    series.sentBytes.add(sentBytes);
  }

  closed(record: ConnectionRecord): void {
    this.#seriesOf(record, record.flags).closed.add(1);
    if (!this.#logging) return;
    const startedUnixMs = this.#clock.unixMs() - (this.#clock.now() - record.startedMs);
    this.#log.add(connectionLogLine(record, startedUnixMs));
  }

  /** A connection that was closed before it was known what it is. */
  refused(listener: string, { peer, serverName }: IncomingConnection, reason: string, snapshotVersion: string): void {
    const facts: ConnectionFacts = { listener, peer, serverName, clusterName: undefined };
    this.opened(facts);
    this.closed({
      ...facts,
      snapshotVersion,
      routeId: undefined,
      endpoint: undefined,
      flags: "DPE",
      reason,
      attempts: 0,
      startedMs: this.#clock.now(),
      receivedBytes: 0,
      sentBytes: 0,
      durationMs: 0,
      connectMs: undefined,
    });
  }

  #seriesOf(facts: ConnectionFacts, flags: string): ConnectionSeries {
    const { peer, clusterName = "" } = facts;
    const key = `${clusterName}\n${flags}\n${peer.tls === undefined ? "" : (peer.principal ?? "tls")}`;
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const labels = connectionLabels(facts, flags);
    const series: ConnectionSeries = {
      opened: this.#metrics.counter(CONNECTIONS_OPENED, labels),
      closed: this.#metrics.counter(CONNECTIONS_CLOSED, labels),
      sentBytes: this.#metrics.counter(CONNECTION_SENT_BYTES, labels),
      receivedBytes: this.#metrics.counter(CONNECTION_RECEIVED_BYTES, labels),
    };
    this.#series.set(key, series);
    return series;
  }
}
