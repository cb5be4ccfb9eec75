/** Where a control plane keeps what, below its state directory. */
import { join } from "node:path";

export interface StatePaths {
  readonly keys: string;
  readonly snapshots: string;
  readonly tls: string;
  readonly config: string;
  readonly enrolment: string;
  readonly apiToken: string;
  /** Unless a setting says otherwise. */
  readonly secrets: string;
}

export function statePaths(state: string): StatePaths {
  return {
    keys: join(state, "keys"),
    snapshots: join(state, "snapshots"),
    tls: join(state, "tls"),
    config: join(state, "config.db"),
    enrolment: join(state, "enrolment.db"),
    apiToken: join(state, "api.token"),
    secrets: join(state, "secrets"),
  };
}

export const DEFAULT_STATE = join(".tidegate", "control");
