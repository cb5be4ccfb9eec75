/** What a peer may do only so often, on one connection. */
import { Allowance } from "./allowance.ts";
import type { Http2Limits } from "./limits.ts";

export class Floods {
  readonly resets: Allowance;
  readonly pings: Allowance;
  readonly settings: Allowance;
  readonly emptyFrames: Allowance;
  readonly windowUpdates: Allowance;
  readonly idleFrames: Allowance;

  constructor(limits: Http2Limits) {
    this.resets = new Allowance(limits.resets);
    this.pings = new Allowance(limits.pings);
    this.settings = new Allowance(limits.settings);
    this.emptyFrames = new Allowance(limits.emptyFrames);
    this.windowUpdates = new Allowance(limits.windowUpdates);
    this.idleFrames = new Allowance(limits.idleFrames);
  }

  streamOpened(): void {
    this.idleFrames.earn(2);
  }

  streamFinished(): void {
    this.resets.earn(1);
  }

  dataSent(frames: number): void {
    this.pings.earn(frames);
    this.windowUpdates.earn(2 * frames);
  }
}
