/** What the connections of one thread share, made new. */
import { ResponseParserSettings } from "../wire/index.ts";
import type { HttpThread } from "./call.ts";
import { armSystemTimer, systemClock } from "./clock.ts";
import { Deadlines } from "./deadlines.ts";
import { decodeLatin1 } from "./latin1.ts";
import { Outbox } from "./outbox.ts";
import { PemFiles } from "./pem-files.ts";
import { TurnEnd } from "./turn-end.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import { OriginContexts } from "./upstream/tls.ts";

/** @param origins TLS towards origins; by default no files are looked at */
export function createHttpThread(problem: (error: unknown) => void, origins?: OriginContexts): HttpThread {
  return { ...createUpstreamThread(origins), problem };
}

export function createUpstreamThread(origins = new OriginContexts(new PemFiles(""), Date.now, () => undefined)): UpstreamThread {
  return {
    clock: systemClock,
    deadlines: new Deadlines(systemClock, armSystemTimer),
    parser: new ResponseParserSettings({ decode: decodeLatin1 }),
    counts: { connections: 0, connectionsTotal: 0, waiting: 0, overflowTotal: 0 },
    clusters: new Map(),
    outbox: new Outbox(),
    turnEnd: new TurnEnd(),
    origins,
  };
}
