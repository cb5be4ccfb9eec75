/**
 * Tells the control plane how endpoints are: everything that is watched when a stream begins, then what has changed. It looks when it is told that something may
 * have changed, and now and then while somebody is not well, because time alone changes that.
 */
import type { EndpointView } from "../core/index.ts";
import {
  create,
  EndpointIdSchema,
  type EndpointReport,
  EndpointReportSchema,
  ReportedEndpointSchema,
} from "../wire/proto/index.ts";
import type { ArmTimer } from "./deadlines.ts";

/** Changes that come together are told together. */
export const REPORT_DELAY_MS = 500;
/** How often it looks while an endpoint is ejected, unhealthy or warming. */
export const REPORT_INTERVAL_MS = 5_000;
/** One message of a report; more endpoints, and there are more messages. */
export const MAX_REPORT_ITEMS = 2_000;
/** Endpoints that are told of at most; those that are not well come first. */
export const MAX_REPORTED_ENDPOINTS = 20_000;

export interface ReporterOptions {
  readonly endpoints: () => Promise<readonly EndpointView[]>;
  /** False: there is no stream; the next one begins with everything. */
  readonly send: (report: EndpointReport) => boolean;
  readonly arm: ArmTimer;
}

export class EndpointReporter {
  readonly #options: ReporterOptions;
  /** What the control plane knows, by key; undefined: nothing. */
  #told: Map<string, EndpointView> | undefined;
  #disarm: (() => void) | undefined;
  #looking = false;
  #again = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** A stream has begun. */
  connected(): void {
    this.#told = undefined;
    this.changed();
  }

  /** Something may have changed. */
  changed(): void {
    this.#arm(REPORT_DELAY_MS);
  }

  close(): void {
    this.#disarm?.();
    this.#disarm = undefined;
  }

  #arm(delayMs: number): void {
    this.#disarm?.();
    this.#disarm = this.#options.arm(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = true;
    const watched = (await this.#options.endpoints()).filter(({ isWatched }) => isWatched);
    this.#looking = false;
    const reported = watched.length <= MAX_REPORTED_ENDPOINTS ? watched : worstFirst(watched).slice(0, MAX_REPORTED_ENDPOINTS);
    this.#report(new Map(reported.map((view) => [keyOf(view), view])));
    if (this.#again) this.#arm(REPORT_DELAY_MS);
    else if (reported.some(({ state }) => state !== "healthy")) this.#arm(REPORT_INTERVAL_MS);
    this.#again = false;
  }

  #report(now: Map<string, EndpointView>): void {
    const before = this.#told;
    const changed = [...now].filter(([key, view]) => !isSame(before?.get(key), view)).map(([, view]) => view);
    const gone = [...(before ?? [])].filter(([key]) => !now.has(key)).map(([, view]) => view);
    if (before !== undefined && changed.length + gone.length === 0) return;
    // The first message of a whole report begins anew even if it is empty.
    for (let at = 0; at === 0 || at < Math.max(changed.length, gone.length); at += MAX_REPORT_ITEMS) {
      const report = create(EndpointReportSchema, {
        whole: before === undefined && at === 0,
        endpoints: changed.slice(at, at + MAX_REPORT_ITEMS).map(toMessage),
        gone: gone.slice(at, at + MAX_REPORT_ITEMS).map(toId),
      });
      if (this.#options.send(report)) continue;
      this.#told = undefined;
      return;
    }
    this.#told = now;
  }
}

function keyOf({ cluster, address, port }: EndpointView): string {
  return `${cluster}|${address}|${port}`;
}

/** For how long it has been so is no change. */
function isSame(before: EndpointView | undefined, now: EndpointView): boolean {
  return (
    before !== undefined &&
    before.state === now.state &&
    before.reason === now.reason &&
    before.hostname === now.hostname &&
    before.weight === now.weight
  );
}

function worstFirst(views: readonly EndpointView[]): readonly EndpointView[] {
  return [...views].sort((a, b) => Number(a.state === "healthy") - Number(b.state === "healthy"));
}

function toId({ cluster, address, port }: EndpointView) {
  return create(EndpointIdSchema, { cluster, address, port });
}

function toMessage(view: EndpointView) {
  const { hostname = "", state, reason = "", forMs = 0, locality = "", weight } = view;
  return create(ReportedEndpointSchema, {
    id: toId(view),
    hostname,
    state,
    reason,
    forMs: BigInt(Math.round(forMs)),
    locality,
    weight,
  });
}
