/** What the connections of one thread share, made new. */
import { ResponseParserSettings } from "../wire/index.ts";
import type { HttpThread } from "./call.ts";
import { armSystemTimer, systemClock } from "./clock.ts";
import { Deadlines } from "./deadlines.ts";
import { decodeLatin1 } from "./latin1.ts";
import { Outbox } from "./outbox.ts";
import { TurnEnd } from "./turn-end.ts";
import type { UpstreamThread } from "./upstream/pool.ts";

export function createHttpThread(problem: (error: unknown) => void): HttpThread {
  return { ...createUpstreamThread(), problem };
}

export function createUpstreamThread(): UpstreamThread {
  return {
    clock: systemClock,
    deadlines: new Deadlines(systemClock, armSystemTimer),
    parser: new ResponseParserSettings({ decode: decodeLatin1 }),
    counts: { connections: 0, connectionsTotal: 0, waiting: 0, overflowTotal: 0 },
    clusters: new Map(),
    outbox: new Outbox(),
    turnEnd: new TurnEnd(),
  };
}
