/** No proxy at all: the origin itself. It shows what load generator and origin can do together on their one core. */
import type { Running } from "../../tools/processes.ts";
import type { Peer } from "./peer.ts";

export const DIRECT = "direct";

export const direct: Peer = {
  name: DIRECT,
  missing: () => undefined,
  start: async ({ originPort, originProcess }) => ({ port: originPort, process: kept(originProcess) }),
};

/** It ends when the run ends, not with the row. */
function kept(origin: Running): Running {
  return { ...origin, stop: async () => {} };
}
